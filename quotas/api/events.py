"""Events of usage, as a data plane sends them."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.api import examples
from quotas.api.serializers import EventBatchSerializer, IngestedSerializer
from quotas.events import FIELDS, MAX_EVENTS, MAX_PROPERTIES
from quotas.services.ingestion import ingest_events
from spoke.core.parsers import MAX_DEPTH, read_body, require_few_values
from spoke.core.schema import ProblemSerializer
from spoke.core.serializers import UNKNOWN

NOT_A_NUMBER = Decimal("NaN")
MAX_VALUES = 2 + MAX_EVENTS * (1 + len(FIELDS) + MAX_PROPERTIES)


def _number(text: str) -> Decimal:
    """A number of any size, exactly; one that has no bounds at all is no number."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return NOT_A_NUMBER


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return result


def parse_events(body: bytes) -> Any:
    """JSON text as Python values, numbers exactly. What is odd in one event is left for it to answer.

    NaN and numbers beyond all bounds are parsed: they are refused event by event. Raises ParseError and
    PayloadTooLarge.
    """
    require_few_values(body, MAX_VALUES)
    try:
        text = body.decode("utf-8")
        try:
            return json.loads(text, parse_float=Decimal, object_pairs_hook=_unique_pairs)
        except (InvalidOperation, ValueError) as exc:
            if isinstance(exc, json.JSONDecodeError):
                raise
            # A number that the fast way cannot hold, or a name that appears twice.
            return json.loads(
                text, parse_float=_number, parse_int=_number, object_pairs_hook=_unique_pairs
            )
    except UnicodeDecodeError as exc:
        raise ParseError(f"The body is not UTF-8 at byte {exc.start}.") from exc
    except RecursionError as exc:
        raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.") from exc
    except ValueError as exc:
        raise ParseError(f"The body is not valid JSON: {exc}.") from exc


class EventsParser(BaseParser):
    """Parses application/json up to the view's limit, leniently inside of single events."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = read_body(stream, settings.MAX_EVENTS_BYTES)
        return parse_events(body) if body else {}


def read_batch(data: Any) -> list[Any]:
    """The events of a body. Raises ValidationError when it is no batch."""
    if not isinstance(data, dict):
        raise ValidationError({"non_field_errors": ["An object is expected."]}, code="invalid")
    unknown = [
        str(name)[:64].encode("utf-8", "replace").decode() for name in data.keys() - {"events"}
    ]
    if unknown:
        fields = {name.replace("\x00", "�"): [UNKNOWN] for name in unknown}
        raise ValidationError(fields, code="unknown_field")
    if "events" not in data:
        raise ValidationError({"events": ["This field is required."]}, code="required")
    events = data["events"]
    if not isinstance(events, list):
        raise ValidationError({"events": ["A list is expected."]}, code="not_a_list")
    if len(events) > MAX_EVENTS:
        raise ValidationError(
            {"events": [f"At most {MAX_EVENTS} events at once."]}, code="max_length"
        )
    return events


@extend_schema(tags=["usage"])
class UsageEventsView(OrgScopedViewSet):
    """Taking events in."""

    parser_classes = [EventsParser]
    permissions = {"create": Permission.USAGE_WRITE}
    events: list[Any]

    def before_transaction(self, request: Request) -> None:
        self.events = read_batch(request.data)

    @extend_schema(
        operation_id="orgs_usage_events_create",
        summary="Send events of usage",
        description=f"Up to {MAX_EVENTS:,} events. Each is judged by itself: what is not in order is "
        "rejected with its index and a reason, and the others are stored. An `idempotency_key` that "
        "was used before is a duplicate, whatever the other fields say, and not stored again; so "
        "after a timeout send the same events again, in whatever batches. `quantity` is a number, or "
        "a decimal number as text; `timestamp` lies between 35 days back and 5 minutes ahead. Events "
        "of a billing period that is closed count in the current one. `results` names only the "
        "events that were not stored.",
        request=EventBatchSerializer,
        responses={
            200: IngestedSerializer,
            400: OpenApiResponse(ProblemSerializer, examples=[examples.TOO_MANY_EVENTS]),
            413: ProblemSerializer,
        },
        examples=[examples.EVENTS, examples.INGESTED],
    )
    def create(self, request: Request, org: str) -> Response:
        done = ingest_events(org_id=self.org.pk, events=self.events, now=self.now)
        return Response(
            {
                "accepted": done.accepted,
                "duplicates": done.duplicates,
                "rejected": done.rejected,
                "results": [
                    {
                        "index": outcome.position,
                        "idempotency_key": outcome.idempotency_key,
                        "status": outcome.status,
                        "code": outcome.code,
                        "detail": outcome.detail,
                    }
                    for outcome in done.others
                ],
            }
        )
