"""Errors of the domain. Services raise them; `spoke.core.problem` renders each one once."""

from typing import Any, ClassVar


class DomainError(Exception):
    """A refusal with an HTTP status and a stable `code`; `extra` members are added to the answer."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"
    title: ClassVar[str] = "Bad request"

    def __init__(
        self,
        detail: str | None = None,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
        code: str | None = None,
        **extra: Any,
    ) -> None:
        self.detail = detail or self.title
        self.field = field
        self.headers = headers or {}
        self.error_code = code or self.code
        self.extra = extra
        super().__init__(self.detail)


class InvalidInput(DomainError):
    """A value that cannot be accepted; `field` names it."""


class AuthenticationRequired(DomainError):
    status, code, title = 401, "not_authenticated", "Authentication required"


class Forbidden(DomainError):
    status, code, title = 403, "permission_denied", "Permission denied"


class NotFound(DomainError):
    status, code, title = 404, "not_found", "Not found"


class Conflict(DomainError):
    status, code, title = 409, "conflict", "Conflict"


class Gone(DomainError):
    status, code, title = 410, "gone", "Gone"


class LengthRequired(DomainError):
    status, code, title = 411, "length_required", "Length required"


class PreconditionFailed(DomainError):
    status, code, title = 412, "precondition_failed", "Precondition failed"


class PayloadTooLarge(DomainError):
    status, code, title = 413, "payload_too_large", "Payload too large"


class Unprocessable(DomainError):
    status, code, title = 422, "unprocessable", "Unprocessable"


class RateLimited(DomainError):
    status, code, title = 429, "rate_limited", "Too many requests"


class NotYetAvailable(DomainError):
    status, code, title = 501, "not_implemented", "Not implemented"


class ServiceUnavailable(DomainError):
    """Something Spoke depends on is away; nothing was written, the request may be sent again."""

    status, code, title = 503, "service_unavailable", "Service unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 5, **kwargs: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **kwargs)
