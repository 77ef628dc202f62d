"""The id of the request being served, for logs, audit events and answers."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request being served, empty outside one."""
    return request_id.get()
