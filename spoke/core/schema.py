"""OpenAPI details that hold for every endpoint."""

from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema as BaseAutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    inline_serializer,
)
from rest_framework import serializers

from spoke.core.serializers import StrictQuerySerializer

PROBLEM = "application/problem+json"
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Makes the call safe to repeat: the first answer is replayed for 24 hours.",
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag read before; 412 when changed."
)
ProblemSerializer = inline_serializer(
    "Problem",
    {
        "type": serializers.CharField(),
        "title": serializers.CharField(),
        "status": serializers.IntegerField(),
        "detail": serializers.CharField(),
        "code": serializers.CharField(),
        "errors": inline_serializer(
            "FieldProblem",
            {
                "field": serializers.CharField(),
                "code": serializers.CharField(),
                "detail": serializers.CharField(),
            },
            many=True,
        ),
        "request_id": serializers.CharField(),
    },
)


def problem_example(
    name: str, *, status: int, code: str, detail: str, **extra: Any
) -> OpenApiExample:
    """An example of a problem body."""
    value = {"title": name, "status": status, "code": code, "detail": detail, "errors": [], **extra}
    return OpenApiExample(
        name,
        value=value,
        response_only=True,
        status_codes=[str(status)],
        media_type=PROBLEM,
    )


class AutoSchema(BaseAutoSchema):
    """Adds the problem answer, idempotency keys, preconditions and query parameters where they apply."""

    def get_override_parameters(self) -> list[Any]:
        extra = {"POST": [IDEMPOTENCY_KEY], "PUT": [IF_MATCH], "PATCH": [IF_MATCH]}
        query = self._query_kind()
        return [
            *super().get_override_parameters(),
            *extra.get(self.method, []),
            *([query] if query._declared_fields else []),
        ]

    def _query_kind(self) -> type[StrictQuerySerializer]:
        view: Any = self.view
        kind: type[StrictQuerySerializer] = view.queries.get(view.action, StrictQuerySerializer)
        return kind

    def _get_pagination_parameters(self) -> list[dict[str, Any]]:
        if not self._query_kind().PASSED:
            return []
        found: list[dict[str, Any]] = super()._get_pagination_parameters()  # type: ignore[no-untyped-call]
        return found

    def _get_response_for_code(
        self,
        serializer: Any,
        status_code: Any,
        media_types: list[str] | None = None,
        direction: Literal["request", "response"] = "response",
    ) -> dict[str, Any]:
        if media_types is None and str(status_code)[0] in "45":
            media_types = [PROBLEM]
        found: dict[str, Any] = super()._get_response_for_code(  # type: ignore[no-untyped-call]
            serializer, status_code, media_types, direction
        )
        return found

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = OpenApiResponse(ProblemSerializer, description="A problem (RFC 9457).")
        described = self._get_response_for_code(problem, "default", [PROBLEM], direction)
        bodies.setdefault("default", described)
        return bodies
