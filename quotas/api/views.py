"""Limits, usage and the plan catalogue."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.api import examples
from quotas.api.serializers import (
    HistoryQuerySerializer,
    PeriodUsagePageSerializer,
    PeriodUsageSerializer,
    PlanSerializer,
    QuotaChangeSerializer,
    QuotasSerializer,
    SeriesSerializer,
    UsageSerializer,
)
from quotas.models import Plan, PlanLimit, UsagePeriod
from quotas.resources import LIMIT_FIELDS, Resource
from quotas.services import flush, history, overview
from quotas.services.limits import lock_settings, set_overrides
from quotas.services.offers import plans_for
from spoke.core import tenancy
from spoke.core.errors import NotFound
from spoke.core.schema import ProblemSerializer
from spoke.core.serializers import PageQuerySerializer
from spoke.core.views import SpokeViewSet

CATALOGUE_SECONDS = 300


class CountedViewSet(OrgScopedViewSet):
    """Asks Valkey for what it has counted before the transaction opens."""

    counted: overview.Counted

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.counted = overview.read_counted(org_id=self.org.pk, now=self.now)


QUOTA_ERRORS = {
    403: OpenApiResponse(ProblemSerializer, examples=[examples.NOT_STAFF]),
    429: OpenApiResponse(ProblemSerializer, examples=[examples.EXCEEDED]),
}


@extend_schema(tags=["quotas"])
class QuotasView(CountedViewSet):
    """The limits of an organization."""

    permissions = {"retrieve": Permission.QUOTAS_READ, "update": Permission.QUOTAS_CHANGE}

    @extend_schema(
        summary="Read the limits in force, where each comes from, and what is used",
        responses={200: QuotasSerializer},
        examples=[examples.QUOTAS],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        return self._answer()

    @extend_schema(
        summary="Override limits (staff only)",
        description="Changes only what is sent: a limit sent becomes an override, `reset` takes "
        "overrides away. Audited. PUT and PATCH are the same.",
        request=QuotaChangeSerializer,
        responses={200: QuotasSerializer, **QUOTA_ERRORS},
        examples=[examples.CHANGE, examples.QUOTAS],
    )
    def update(self, request: Request, org: str) -> Response:
        sent = self.valid(QuotaChangeSerializer, request.data)
        settings = lock_settings(org_id=self.org.pk, now=self.now)
        self.require_match(request, self._name(settings.revision))
        set_overrides(
            org_id=self.org.pk,
            actor=self.context.actor,
            now=self.now,
            limits={r: sent[name] for r, name in LIMIT_FIELDS.items() if name in sent},
            reset=[r for r, name in LIMIT_FIELDS.items() if name in sent.get("reset", ())],
            custom_settings=sent.get("custom_settings"),
            expires_at=sent.get("expires_at"),
            reason=sent.get("reason", ""),
        )
        return self._answer()

    def _answer(self) -> Response:
        found = overview.quota_overview(org_id=self.org.pk, counted=self.counted, now=self.now)
        data = QuotasSerializer(found).data
        name = self._name(overview.revision_of(org_id=self.org.pk))
        return Response(data, headers={"ETag": name})

    def _name(self, revision: int) -> str:
        return f'"quotas-{self.org.pk}-{revision}"'


@extend_schema(tags=["usage"])
class UsageView(CountedViewSet):
    """The usage of an organization."""

    permissions = {"retrieve": Permission.USAGE_READ, "list": Permission.USAGE_READ}
    queries = {"list": HistoryQuerySerializer}
    list_ordering = ("-start",)

    @extend_schema(
        summary="Read the usage of the current period",
        responses={200: UsageSerializer},
        examples=[examples.USAGE],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        found = overview.usage_overview(org_id=self.org.pk, counted=self.counted, now=self.now)
        return Response(UsageSerializer(found).data)

    @extend_schema(
        operation_id="orgs_usage_history",
        summary="Read the usage of earlier periods, or a series of hours or days",
        description="Earlier periods, newest first. With `granularity`, a point for every hour or "
        f"day, oldest first, {history.MAX_POINTS} at most, in one page.",
        responses={
            200: PolymorphicProxySerializer(
                component_name="UsageHistory",
                serializers=[PeriodUsagePageSerializer, SeriesSerializer],
                resource_type_field_name=None,
                many=False,
            )
        },
        examples=[examples.PERIODS, examples.SERIES],
    )
    def list(self, request: Request, org: str) -> Response:
        if "granularity" in self.query:
            return self._series(self.query)
        periods = UsagePeriod.objects.for_org(self.org.pk).filter(end__lte=self.now)
        page = self.paginate_queryset(periods)
        found = overview.period_overview(
            org_id=self.org.pk, periods=list(page or []), counted=self.counted, now=self.now
        )
        return self.get_paginated_response(PeriodUsageSerializer(found, many=True).data)

    def _series(self, query: Mapping[str, Any]) -> Response:
        resource = Resource(query.get("resource", Resource.API_REQUESTS))
        points = history.usage_series(
            org_id=self.org.pk,
            resource=resource,
            granularity=query["granularity"],
            since=query.get("since"),
            until=query.get("until"),
            pending=flush.unwritten(self.counted.pending),
            now=self.now,
        )
        answer = {
            "resource": resource.value,
            "granularity": query["granularity"],
            "results": points,
            "next": None,
            "previous": None,
        }
        return Response(SeriesSerializer(answer).data)


class PublicViewSet(SpokeViewSet):
    """What anybody may read; nothing of any organization is visible in it."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    def scope(self) -> tenancy.Scope:
        return tenancy.NOBODY


@extend_schema_view(
    list=extend_schema(
        summary="List the plans on sale",
        responses={200: PlanSerializer(many=True)},
        examples=[examples.PLAN],
    ),
    retrieve=extend_schema(
        summary="Read a plan on sale",
        responses={200: PlanSerializer},
        examples=[examples.PLAN],
    ),
)
@extend_schema(tags=["plans"])
class PlansView(PublicViewSet):
    """The public catalogue."""

    serializer_class = PlanSerializer
    queries = {"list": PageQuerySerializer}
    list_ordering = ("position", "id")
    queryset = Plan.objects.none()

    def _on_sale(self) -> Any:
        return _with_parts(Plan.objects.current().filter(is_public=True))

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self._on_sale())
        answer = self.get_paginated_response(PlanSerializer(page, many=True).data)
        return _cacheable(answer)

    def retrieve(self, request: Request, code: str) -> Response:
        plan = self._on_sale().filter(code=code).first()
        if plan is None:
            raise NotFound("There is no such plan on sale.")
        return _cacheable(Response(PlanSerializer(plan).data))


def _with_parts(plans: Any) -> Any:
    limits = Prefetch("limits", PlanLimit.objects.order_by("pk"))
    return plans.prefetch_related(limits, "prices", "charges")


@extend_schema(tags=["plans"])
class OrganizationPlansView(OrgScopedViewSet):
    """What one organization may subscribe to."""

    serializer_class = PlanSerializer
    permissions = {"list": Permission.QUOTAS_READ}
    queries = {"list": PageQuerySerializer}
    list_ordering = ("position", "id")
    queryset = Plan.objects.none()

    @extend_schema(
        summary="List the plans that the organization may subscribe to",
        description="The catalogue, and what is on offer to this organization alone.",
        responses={200: PlanSerializer(many=True)},
        examples=[examples.PLAN],
    )
    def list(self, request: Request, org: str) -> Response:
        page = self.paginate_queryset(_with_parts(plans_for(org_id=self.org.pk)))
        return self.get_paginated_response(PlanSerializer(page, many=True).data)


def _cacheable(response: Response) -> Response:
    response.headers["Cache-Control"] = f"public, max-age={CATALOGUE_SECONDS}"
    return response
