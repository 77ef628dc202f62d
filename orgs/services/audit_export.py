"""The audit log as a file, of any length in bounded memory."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from orgs.models import AuditEvent
from spoke.core import tenancy

PAGE_SIZE = 500
COLUMNS = (
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor_label",
    "action",
    "target_type",
    "target_id",
    "data",
    "request_id",
)
# A spreadsheet takes a cell that starts with one of these for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def as_json_lines(*, org_id: int, filters: dict[str, Any]) -> Iterator[str]:
    """The events that match, newest first, one JSON object a line."""
    for page in _pages(org_id, filters):
        yield "".join(
            json.dumps(_row(event), cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"
            for event in page
        )


def as_csv(*, org_id: int, filters: dict[str, Any]) -> Iterator[str]:
    """The events that match, newest first, as CSV (RFC 4180) that no spreadsheet takes for formulas."""
    yield _csv_lines([COLUMNS])
    for page in _pages(org_id, filters):
        yield _csv_lines(tuple(_cell(value) for value in _row(event).values()) for event in page)


def _pages(org_id: int, filters: dict[str, Any]) -> Iterator[list[AuditEvent]]:
    """The answer is streamed after the request's transaction has ended, so each page opens its own."""
    before: int | None = None
    while True:
        with tenancy.organization(org_id):
            rows = AuditEvent.objects.for_org(org_id).matching(**filters).order_by("-id")
            if before is not None:
                rows = rows.filter(id__lt=before)
            page = list(rows[:PAGE_SIZE])
        if page:
            yield page
            before = page[-1].pk
        if len(page) < PAGE_SIZE:
            return


def _row(event: AuditEvent) -> dict[str, Any]:
    at = event.at.isoformat().replace("+00:00", "Z")  # as the API writes it
    return {name: getattr(event, name) for name in COLUMNS} | {"at": at}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv_lines(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
