"""Middleware: request ids, outages, conditional answers, anonymous limits, the admin's tenancy."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware import http
from django.shortcuts import render
from django.utils.cache import set_response_etag
from django_ratelimit.core import is_ratelimited
from django_structlog.middlewares import RequestMiddleware
from redis.exceptions import RedisError

from spoke.core import tenancy, valkey
from spoke.core.errors import (
    LengthRequired,
    PreconditionFailed,
    RateLimited,
    ServiceUnavailable,
)
from spoke.core.http import client_address, wants_page
from spoke.core.problem import is_outage, problem_response
from spoke.core.requestid import request_id
from spoke.core.tags import answer_to_condition

GetResponse = Callable[[HttpRequest], HttpResponseBase]
OUTAGE = "A service that Spoke depends on is not reachable at the moment. Try again."
ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Gives every request an id, taken from X-Request-ID where that is harmless, and answers it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        sent = request.headers.get("X-Request-ID", "")
        chosen = sent if ACCEPTED_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = chosen
        request.__dict__.pop("headers", None)  # a cached copy would still hold what was sent
        token = request_id.set(chosen)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
        response.headers["X-Request-ID"] = chosen
        return response


class RequestLogMiddleware(RequestMiddleware):
    """Logs requests with the address that limits by address believe, not with what anybody claims."""

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """Binds the address to every line of the request."""
        structlog.contextvars.bind_contextvars(ip=client_address(request))


class OutageMiddleware:
    """Turns an unreachable database or Redis outside the API's views into a 503 with Retry-After."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if is_outage(exception):
            return problem_response(ServiceUnavailable(OUTAGE))
        return None


class LengthRequiredMiddleware:
    """Refuses a body whose length is not announced: Django reads none of it, as if it were empty."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        in_chunks = "Transfer-Encoding" in request.headers
        if in_chunks and request.method != "GET" and not request.META.get("CONTENT_LENGTH"):
            return problem_response(
                LengthRequired("Send the length of the body (Content-Length), not in chunks.")
            )
        return self.get_response(request)


class ConditionalGetMiddleware(http.ConditionalGetMiddleware):
    """ETag and 304 for what is read and not streamed; the admin's and static pages are left alone."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        left_alone = request.path.startswith("/admin/") or response.streaming
        if left_alone or request.method not in ("GET", "HEAD") or response.status_code != 200:
            return response
        if "ETag" not in response.headers and self.needs_etag(response):
            set_response_etag(response)
        if "ETag" not in response.headers:
            return response
        try:
            answer = answer_to_condition(request, response.headers["ETag"], response)
        except PreconditionFailed as error:
            answer = problem_response(error)
        if answer is not response:  # it was counted like the answer that it spares
            for name, value in response.headers.items():
                if name.lower().startswith(("ratelimit", "x-ratelimit")):
                    answer.headers[name] = value
        checked: HttpResponseBase = answer
        return checked


class AnonymousRateLimitMiddleware:
    """Limits requests by address on the views that act before anybody is known.

    The webhook limits forgeries by itself: Stripe sends whatever happens from a handful of addresses.
    """

    PREFIXES = ("/_allauth/", "/accounts/", "/invitations/", "/admin/login")

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(self.PREFIXES):
            return self.get_response(request)
        if valkey.is_silent():
            return problem_response(ServiceUnavailable(OUTAGE))
        try:
            refused = is_ratelimited(  # type: ignore[no-untyped-call]
                request,
                group="anonymous",
                key="ip",
                rate=settings.ANONYMOUS_RATE_LIMIT,
                increment=True,
            )
        except RedisError as error:
            valkey.noticed(error)
            # Guessing passwords must not become free while the counter is away.
            return problem_response(ServiceUnavailable(OUTAGE))
        if refused:
            if wants_page(request):
                page = render(request, "429.html", status=429)
                page.headers["Retry-After"] = "60"
                return page
            return problem_response(
                RateLimited("Too many requests from this address.", headers={"Retry-After": "60"})
            )
        return self.get_response(request)


class AdminTenancyMiddleware:
    """Opens the door to all organizations for a signed-in member of staff in the admin, and logs it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith("/admin/"):
            return self.get_response(request)
        try:
            return self._respond(request)
        except Exception as exc:
            # Raised outside the view: by looking up the session, or by the transaction itself.
            if is_outage(exc):
                return problem_response(ServiceUnavailable(OUTAGE))
            raise

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        if not request.user.is_staff:
            return self.get_response(request)
        reason = f"admin {request.method} {request.path}"
        with tenancy.all_organizations(reason=reason, actor=f"user:{request.user.pk}"):
            response = self.get_response(request)
            if response.status_code >= 500:
                # The exception was already rendered below us; what it left behind must go.
                transaction.set_rollback(True)
        return response
