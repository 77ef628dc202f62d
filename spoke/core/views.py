"""The one base of every API view: govern first, then run the handler in one scoped transaction."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from spoke.core import idempotency, tenancy
from spoke.core.errors import PreconditionFailed
from spoke.core.serializers import StrictQuerySerializer, StrictSerializer
from spoke.core.tags import names_in, whole_tag


class SpokeViewSet(GenericViewSet[Any]):
    """Authentication, permission and limits run outside any transaction; a handler that writes, inside.

    A subclass says in `scope()` for whom the handler works. An exception rolls everything back, the
    idempotency record with it. Reading needs no transaction: each statement is one.
    """

    pagination_class: Any = GenericViewSet.pagination_class
    # What an answer's Allow is made of. Nothing answers OPTIONS or TRACE.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    now: datetime
    # The query parameters that an action takes; one that is not named here takes none.
    queries: ClassVar[Mapping[str, type[StrictQuerySerializer]]] = {}
    query: dict[str, Any]
    # Actions that take no body; one that is sent all the same is refused.
    without_body: ClassVar[frozenset[str]] = frozenset()
    # Actions that call others over the network: they run outside of a transaction, and open their own.
    outside: ClassVar[frozenset[str]] = frozenset()

    def scope(self) -> tenancy.Scope:
        """For whom the handler works."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        self.now = timezone.now()
        drf_request = self.initialize_request(request, *args, **kwargs)
        self.request = drf_request
        self.headers = self.default_response_headers
        try:
            self.initial(drf_request, *args, **kwargs)
            handler = self._handler_for(drf_request)
            response = self._run(drf_request, lambda: handler(drf_request, *args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - the handler renders or re-raises it
            response = self.handle_exception(exc)
        self.response = self.finalize_response(drf_request, response, *args, **kwargs)
        return self.response

    def _handler_for(self, request: Request) -> Callable[..., Response]:
        name = (request.method or "").lower()
        if name not in self.http_method_names:
            return self.http_method_not_allowed
        handler: Callable[..., Response] = getattr(self, name, self.http_method_not_allowed)
        return handler

    def _run(self, request: Request, handler: Callable[[], Response]) -> Response:
        if self.action is not None:  # else it will be a 405
            self.query = self._read_query(request)
        if request.method in ("POST", "PUT", "PATCH"):
            self._read_body(request)
        key = idempotency.read_key(request) if request.method == "POST" else None
        self.before_transaction(request)
        if request.method in SAFE_METHODS:
            with tenancy.reading(self.scope()):
                return handler()
        if self.action in self.outside:
            return self._run_outside(request, handler, key)
        if key is None:
            with tenancy.scoped(self.scope()):
                return handler()
        request_hash = idempotency.fingerprint(request)
        with tenancy.scoped(self.scope()):
            return idempotency.run_once(
                key=key,
                request_hash=request_hash,
                user_id=request.user.pk,
                now=self.now,
                handler=handler,
            )

    def _run_outside(
        self, request: Request, handler: Callable[[], Response], key: str | None
    ) -> Response:
        if key is None:
            return handler()
        return idempotency.run_outside(
            key=key,
            request_hash=idempotency.fingerprint(request),
            user_id=request.user.pk,
            now=self.now,
            scope=self.scope(),
            handler=handler,
        )

    def query_kind(self, request: Request) -> type[StrictQuerySerializer]:
        """What the request's query parameters are held against."""
        return self.queries.get(self.action or "", StrictQuerySerializer)

    def before_transaction(self, request: Request) -> None:
        """Slow work that must hold no lock, such as writing files; it may be repeated or orphaned.

        It also runs when the answer is then replayed under an Idempotency-Key, so an override keeps
        a refusal for the handler to raise.
        """

    def _read_query(self, request: Request) -> dict[str, Any]:
        kind = self.query_kind(request)
        if not kind._declared_fields and not request.query_params:
            return {}
        found: dict[str, Any] = self.valid(kind, request.query_params)
        return found

    def _read_body(self, request: Request) -> None:
        """Reads and parses the body before the transaction opens: a slow client holds no lock."""
        data = request.data
        if self.action in self.without_body and data != {}:
            self.valid(StrictSerializer, data)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in getattr(request, "limit_headers", {}).items():
            final.headers[name] = value
        final.headers.setdefault("Cache-Control", "private, no-cache")
        if "ETag" in final.headers and isinstance(final, Response):
            final.headers["ETag"] = whole_tag(final.headers["ETag"], final.data)
        return final

    def valid(self, serializer_class: type[BaseSerializer[Any]], data: Any, **kwargs: Any) -> Any:
        """The validated data of an input. Raises ValidationError naming each field."""
        serializer = serializer_class(data=data, context=self.get_serializer_context(), **kwargs)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def paged(
        self, rows: QuerySet[Any], serializer_class: type[BaseSerializer[Any]], **context: Any
    ) -> Response:
        """One page of the rows, as the request's cursor and limit ask for."""
        page: Any = self.paginate_queryset(rows)
        context = {**self.get_serializer_context(), **context}
        serializer = serializer_class(page, many=True, context=context)
        return self.get_paginated_response(serializer.data)

    def require_match(self, request: Request, etag: str) -> None:
        """Honours If-Match against the name of what the caller holds locked, as `etag_of` gives it."""
        sent = request.headers.get("If-Match")
        if sent is None or sent.strip() == "*":
            return
        if etag not in names_in(sent):
            raise PreconditionFailed(
                "The resource has changed since you read it. Read it again.",
                current_etag=etag,
            )


def etag_of(row: Any) -> str:
    """What names a row in entity tags; it has a `revision`, which every change raises."""
    return f'"{row._meta.model_name}-{row.pk}-{row.revision}"'
