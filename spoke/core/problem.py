"""Every error leaves as RFC 9457 problem+json, rendered here and nowhere else."""

from http import HTTPStatus
from itertools import takewhile
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from drf_standardized_errors.formatter import ExceptionFormatter, flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import ErrorResponse
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rest_framework import exceptions
from rest_framework.response import Response

from spoke.core.errors import DomainError, InvalidInput, ServiceUnavailable
from spoke.core.http import wants_page
from spoke.core.requestid import current_request_id

CONTENT_TYPE = "application/problem+json"
NOT_UNDERSTOOD = "The request could not be understood."
# A cache may keep a 404 that says nothing of it.
NOT_KEPT = {"Cache-Control": "no-store"}
MAX_ERRORS = 100  # in one problem
# SQLSTATE classes and codes of a database that is away, ending, full or too busy: worth a retry.
RETRYABLE_STATES = ("08", "53", "57P", "55P03", "40001", "40P01", "57014", "25P03")


class DomainAPIException(exceptions.APIException):
    """Carries a DomainError through the error library."""

    def __init__(self, error: DomainError) -> None:
        super().__init__(error.detail, error.error_code)
        self.status_code = error.status
        self.error = error


def is_outage(exc: BaseException) -> bool:
    """Whether an error means that PostgreSQL or Redis is away or too busy, not that we erred."""
    if isinstance(exc, InterfaceError | RedisConnectionError | RedisTimeoutError | BrokerError):
        return True
    if not isinstance(exc, DatabaseError):
        return False
    state = getattr(exc.__cause__, "sqlstate", None)
    if state is None:
        return isinstance(exc, OperationalError)
    return str(state).startswith(RETRYABLE_STATES)


def problem(
    *,
    status: int,
    code: str,
    detail: str,
    title: str | None = None,
    errors: list[dict[str, Any]] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """The body of a problem: RFC 9457 members, `code`, `errors` and the request's id."""
    return {
        "type": f"/docs/errors#{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
        "request_id": current_request_id(),
        **extra,
    }


def problem_response(error: DomainError) -> JsonResponse:
    """A DomainError as an answer outside the API's views (middleware, unknown addresses)."""
    body = problem(
        status=error.status,
        code=error.error_code,
        detail=error.detail,
        title=error.title,
        **error.extra,
    )
    headers = {**NOT_KEPT, **error.headers}
    return JsonResponse(body, status=error.status, content_type=CONTENT_TYPE, headers=headers)


def _place(attr: str | None) -> str:
    """What an error is about: of a nested object as a whole, the object."""
    return (attr or "non_field_errors").removesuffix(".non_field_errors")


def _first_errors(detail: Any, room: list[int]) -> Any:
    """The first errors of a validation error, in its own shape; `room` is how many more there may be."""
    if isinstance(detail, str):
        room[0] -= 1
        return detail
    if isinstance(detail, dict):
        pairs = takewhile(lambda _: room[0] > 0, detail.items())
        return {name: _first_errors(part, room) for name, part in pairs}
    return [_first_errors(part, room) for part in takewhile(lambda _: room[0] > 0, detail)]


class ProblemFormatter(ExceptionFormatter):
    """Shapes the flattened errors of the library as a problem, the first MAX_ERRORS of them."""

    def get_errors(self) -> Any:
        # The library's time rises with the square of their number, and nobody reads thousands.
        detail: Any = self.exc.detail
        return flatten_errors(_first_errors(detail, [MAX_ERRORS]))

    def format_error_response(self, error_response: ErrorResponse) -> dict[str, Any]:
        status = self.exc.status_code
        if isinstance(self.exc, DomainAPIException):
            return self._domain(self.exc.error)
        if isinstance(self.exc, exceptions.ValidationError):
            errors = [
                {"field": _place(e.attr), "code": e.code, "detail": e.detail}
                for e in error_response.errors
            ]
            named = ", ".join(dict.fromkeys(str(e["field"]) for e in errors))
            return problem(
                status=status,
                code="validation_error",
                detail=f"The request is not valid: {named}.",
                title="Validation error",
                errors=errors,
            )
        first = error_response.errors[0]
        code = "server_error" if status == 500 else first.code
        return problem(status=status, code=code, detail=first.detail)

    @staticmethod
    def _domain(error: DomainError) -> dict[str, Any]:
        extra = dict(error.extra)
        errors = extra.pop("errors", [])
        if error.field:
            errors = [{"field": error.field, "code": error.error_code, "detail": error.detail}]
        return problem(
            status=error.status,
            code=error.error_code,
            detail=error.detail,
            title=error.title,
            errors=errors,
            **extra,
        )


class ProblemHandler(ExceptionHandler):
    """Maps domain errors and outages; a 4xx never reaches the crash reporter."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if is_outage(exc):
            exc = ServiceUnavailable(
                "A service that Spoke depends on is not reachable at the moment. Try again."
            )
        if isinstance(exc, SuspiciousOperation):  # such as a thousand query parameters
            exc = InvalidInput(NOT_UNDERSTOOD, code="bad_request")
        if isinstance(exc, DomainError):
            return DomainAPIException(exc)
        converted: Exception = super().convert_known_exceptions(exc)
        return converted

    def get_headers(self, exc: exceptions.APIException) -> dict[str, str]:
        headers: dict[str, str] = super().get_headers(exc)
        if isinstance(exc, DomainAPIException):
            headers.update(exc.error.headers)
        return headers

    def get_response(self, exc: exceptions.APIException, data: dict[str, Any]) -> Response:
        response: Response = super().get_response(exc, data)
        response.content_type = CONTENT_TYPE
        return response

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        if isinstance(exc, DomainAPIException):
            return
        super().report_exception(exc, response)


def _plain(status: int, code: str, detail: str) -> HttpResponse:
    body = problem(status=status, code=code, detail=detail)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=NOT_KEPT)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a request Django itself refuses (host, form size)."""
    if wants_page(request):
        return render(request, "400.html", status=400)
    return _plain(400, "bad_request", NOT_UNDERSTOOD)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    if wants_page(request):
        return render(request, "403.html", status=403)
    return _plain(403, "permission_denied", "You may not do this.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: no such address. Who follows a broken link of a mail's gets a page that says so."""
    if wants_page(request):
        return render(request, "404.html", status=404)
    return _plain(404, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: our fault; the request id leads to the log."""
    if wants_page(request):
        # Nothing of the request is looked at, which may be what failed.
        number = request.META.get("HTTP_X_REQUEST_ID", "")
        return HttpResponse(render_to_string("500.html", {"number": number}), status=500)
    return _plain(500, "server_error", "Something went wrong on our side. It has been reported.")
