"""Where requests come in: what Django cannot even make a request of is refused, and is no crash."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest


class ForgivingRequest(WSGIRequest):
    """A request whose Content-Type may be nonsense: then it has none, which is refused beside a body."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (ValueError, TypeError):
            # Parameters by RFC 2231 in a charset that is none, or both in one piece and in several.
            meta["CONTENT_TYPE"] = ""
            super()._set_content_type_params(meta)  # type: ignore[misc]


class Handler(WSGIHandler):
    """Django's, with our requests."""

    request_class = ForgivingRequest
