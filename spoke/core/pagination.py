"""Cursor pagination: stable under inserts, the same shape on every list."""

from typing import Any
from urllib.parse import unquote

from django.core.exceptions import FieldDoesNotExist
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Model, QuerySet
from rest_framework import exceptions, pagination
from rest_framework.request import Request
from rest_framework.response import Response

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class CursorPagination(pagination.CursorPagination):
    """`limit` 1 to 200 (default 50) and an opaque `cursor`; the order ends in the primary key."""

    page_size = DEFAULT_LIMIT
    page_size_query_param = "limit"
    max_page_size = MAX_LIMIT
    page_size_query_description = f"Results per page, 1 to {MAX_LIMIT}."
    ordering = "-id"
    offset_cutoff = 10_000

    def get_page_size(self, request: Request) -> int:
        raw = request.query_params.get(self.page_size_query_param)
        if raw is None:
            return DEFAULT_LIMIT
        if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw[:9]) <= MAX_LIMIT:
            raise exceptions.ValidationError(
                {"limit": [f"A whole number from 1 to {MAX_LIMIT}."]}, code="invalid"
            )
        return int(raw)

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        try:
            found: pagination.Cursor | None = super().decode_cursor(request)
        except (exceptions.NotFound, ValueError) as exc:
            raise _foreign_cursor() from exc
        sent = request.query_params.get("cursor")
        if found is not None and (not sent or _encoded(found) != sent):
            raise _foreign_cursor()  # decoding leaves out whatever is no base64
        return found

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            ordering = self.get_ordering(request, queryset, view)[0]
            _require_position(queryset.model, ordering.removeprefix("-"), str(cursor.position))
        page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        return page

    def get_ordering(
        self, request: Request, queryset: QuerySet[Model], view: Any
    ) -> tuple[str, ...]:
        return tuple(getattr(view, "list_ordering", ("-id",)))

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True, "format": "uri", "example": None}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }


def _encoded(cursor: pagination.Cursor) -> str:
    pages = CursorPagination()
    pages.base_url = ""
    link: str = pages.encode_cursor(cursor)
    return unquote(link.removeprefix("?cursor="))


def _foreign_cursor() -> exceptions.ValidationError:
    return exceptions.ValidationError(
        {"cursor": ["This cursor is not one of ours."]}, code="invalid"
    )


def _require_position(model: type[Model], name: str, position: str) -> None:
    """A cursor is not signed: its position must be a value that the database can compare with."""
    try:
        model._meta.get_field(name).to_python(position)  # type: ignore[union-attr]
    except FieldDoesNotExist:
        return  # ordered by an annotation
    except DjangoValidationError as exc:
        raise _foreign_cursor() from exc
    if "\x00" in position:
        raise _foreign_cursor()
