"""Calling the API from a page: the same views, checks and errors, without a way over the network."""

import json
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.urls import resolve

# What the inner request is told of the outer one; tokens, conditions and keys are not.
PASSED_ON = (
    *("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "HTTP_USER_AGENT"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REQUEST_ID", "wsgi.url_scheme"),
)


@dataclass(frozen=True)
class Answer:
    """What the API answered; `data` is what its JSON holds, {} where there is none."""

    status: int
    data: Any

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.status < 400

    @property
    def refusals(self) -> list[str]:
        """What is wrong, for people: the fields with what is said of each, or the reason as a whole."""
        named = [
            f"{_label(error['field'])}: {error['detail']}"
            for error in self.data.get("errors") or []
            if error.get("field")
        ]
        return named or [str(self.data.get("detail", "That did not work."))]


def _label(field: str) -> str:
    """A field's name as pages call it: thresholds.modules.0 is Modules, amount_cents Amount."""
    named = [part for part in field.split(".") if not part.isdecimal() and part != "thresholds"]
    return " ".join(named).removesuffix("_cents").replace("_", " ").capitalize()


def call(
    request: HttpRequest,
    method: str,
    path: str,
    data: dict[str, Any] | None = None,
    query: dict[str, str] | None = None,
) -> Answer:
    """The API's answer to the signed-in person of the request. Raises Resolver404 for no address.

    The page has checked the form's CSRF token. What pages ask is not counted as API requests: whoever
    has used up their limit could else not raise it.
    """
    body = json.dumps(data).encode() if data is not None else b""
    environ = {name: request.META[name] for name in PASSED_ON if name in request.META}
    environ |= {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": urlencode(query or {}),
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_ACCEPT": "application/json",
        "wsgi.input": BytesIO(body),
    }
    inner: Any = WSGIRequest(environ)
    inner.user, inner.session = request.user, request.session
    inner.from_page = inner._dont_enforce_csrf_checks = True
    match = resolve(path)
    response = match.func(inner, *match.args, **match.kwargs)
    if hasattr(response, "render"):
        response.render()
    return Answer(response.status_code, json.loads(response.content) if response.content else {})
