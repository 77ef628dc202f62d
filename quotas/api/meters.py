"""What meters counted."""

from decimal import Decimal
from typing import Any

from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.api import examples
from quotas.api.serializers import MeterQuerySerializer, MetersUsageSerializer
from quotas.services.meter_usage import MeterReport, report_meters


def _text(value: Decimal | None) -> str | None:
    """Exact, without an exponent or needless zeros."""
    if value is None:
        return None
    return f"{value:f}".rstrip("0").rstrip(".") if value.as_tuple().exponent else f"{value:f}"


def _report(found: MeterReport) -> dict[str, Any]:
    meter = found.meter
    report: dict[str, Any] = {
        "meter": meter.code,
        "name": meter.name,
        "aggregation": meter.aggregation,
        "unit": meter.unit,
        "total": _text(found.total),
    }
    if found.series is not None:
        report["series"] = [
            {"start": point.start, "value": _text(point.value)} for point in found.series
        ]
    return report


@extend_schema(tags=["usage"])
class MeterUsageView(OrgScopedViewSet):
    """The usage of meters."""

    permissions = {"list": Permission.USAGE_READ}
    queries = {"list": MeterQuerySerializer}

    @extend_schema(
        operation_id="orgs_usage_meters",
        summary="Read what the meters counted, as totals and series",
        description="Over [start, end), by default the current period until now. Events appear within "
        "a minute of their receipt. An event counts at its own time; one of a closed period at its "
        "receipt. Averages are weighted by time and start from the level at `start`.",
        responses={200: forced_singular_serializer(MetersUsageSerializer)},  # type: ignore[no-untyped-call]
        examples=[examples.METERS],
    )
    def list(self, request: Request, org: str) -> Response:
        query = self.query
        start, end, reports = report_meters(
            org_id=self.org.pk,
            code=query.get("meter"),
            start=query.get("start"),
            end=query.get("end"),
            granularity=query.get("granularity"),
            now=self.now,
        )
        answer = {
            "start": start,
            "end": end,
            "results": [_report(found) for found in reports],
            "next": None,
            "previous": None,
        }
        return Response(MetersUsageSerializer(answer).data)
