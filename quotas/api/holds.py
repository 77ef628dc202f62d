"""Reservations of a data plane, and asking before one."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.api.views import CountedViewSet
from quotas.models import Hold, HoldState
from quotas.resources import Resource
from quotas.services import holds
from quotas.services.limits import MAX_BIGINT, effective_limits
from spoke.core.errors import NotFound
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

LONGEST_SECONDS = int(holds.LONGEST.total_seconds())
DEFAULT_SECONDS = int(holds.DEFAULT_LIFETIME.total_seconds())
_HOLD: dict[str, Any] = {
    "id": 4711,
    "resource": "compile_jobs",
    "amount": 3,
    "state": "held",
    "reference": "build-8f14e45f",
    "created_at": "2026-11-23T14:20:00Z",
    "expires_at": "2026-11-23T14:35:00Z",
    "settled_at": None,
}
_COMMITTED = _HOLD | {"state": "committed", "amount": 2, "settled_at": "2026-11-23T14:24:09Z"}
HELD = OpenApiExample("Held", value=_HOLD, response_only=True)
COMMITTED = OpenApiExample("Committed", value=_COMMITTED, response_only=True)
EXPIRED = problem_example(
    "Too late",
    status=409,
    code="reservation_expired",
    detail="This reservation has expired.",
    state="expired",
)
BLOCKED = problem_example(
    "Budget exceeded",
    status=403,
    code="budget_exceeded",
    detail="With this the period's overage would cost more than the budget allows.",
    error="budget_exceeded",
    resource="compile_jobs",
    budget_cents=2_000,
    would_cost_cents=2_005,
    currency="usd",
    budget_url="https://spoke.example/orgs/7/budget",
)


class CheckSerializer(StrictSerializer):
    """What one would like to use."""

    resource = serializers.ChoiceField(
        choices=[r.value for r in Resource if r is not Resource.VERSIONS],
        help_text="Versions are limited module by module, and not checked here.",
    )
    amount = serializers.IntegerField(min_value=0, max_value=MAX_BIGINT, default=1)


class EntitlementSerializer(serializers.Serializer[Any]):
    resource = serializers.CharField()
    amount = serializers.IntegerField()
    allowed = serializers.BooleanField()
    current = serializers.IntegerField(
        allow_null=True, help_text="null: not known at the moment, which refuses nothing."
    )
    limit = serializers.IntegerField(allow_null=True, help_text="null: unlimited.")
    overage = serializers.BooleanField(help_text="More than the limit is allowed, and billed.")
    reason = serializers.ChoiceField(
        choices=["quota_exceeded", "budget_exceeded", "rate_limited"],
        allow_null=True,
        help_text="The code that a reservation would be refused with.",
    )


class HoldInput(StrictSerializer):
    """What to reserve, and for how long."""

    resource = serializers.ChoiceField(choices=[resource.value for resource in holds.HOLDABLE])
    amount = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT)
    expires_in = serializers.IntegerField(
        min_value=1,
        max_value=LONGEST_SECONDS,
        default=DEFAULT_SECONDS,
        help_text="Seconds until it is given back by itself, unless committed.",
    )
    reference = serializers.CharField(
        max_length=255, default="", allow_blank=True, help_text="Of your own; only kept."
    )


class CommitInput(StrictSerializer):
    """Less than was reserved gives the rest back."""

    amount = serializers.IntegerField(min_value=0, max_value=MAX_BIGINT, required=False)


class HoldQuery(PageQuerySerializer):
    state = serializers.ChoiceField(choices=HoldState.choices, required=False)
    reference = serializers.CharField(max_length=255, required=False)


class HoldSerializer(serializers.Serializer[Hold]):
    """A reservation; `amount` counts as used unless it is released or expired."""

    id = serializers.IntegerField()
    resource = serializers.ChoiceField(choices=[resource.value for resource in holds.HOLDABLE])
    amount = serializers.IntegerField()
    state = serializers.ChoiceField(choices=HoldState.choices)
    reference = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


@extend_schema(tags=["quotas"])
class EntitlementView(CountedViewSet):
    """Asking whether something may be used."""

    permissions = {"check": Permission.QUOTAS_READ}

    @extend_schema(
        operation_id="orgs_quotas_check",
        summary="Ask whether an amount could be used now",
        description="Changes nothing and promises nothing: another may be faster. To be sure, reserve.",
        request=CheckSerializer,
        responses={200: EntitlementSerializer},
        examples=[
            OpenApiExample(
                "Three jobs", value={"resource": "compile_jobs", "amount": 3}, request_only=True
            ),
            OpenApiExample(
                "They would be billed",
                value={
                    "resource": "compile_jobs",
                    "amount": 3,
                    "allowed": True,
                    "current": 1_020,
                    "limit": 1_000,
                    "overage": True,
                    "reason": None,
                },
                response_only=True,
            ),
        ],
    )
    def check(self, request: Request, org: str) -> Response:
        sent = self.valid(CheckSerializer, request.data)
        resource, amount = Resource(sent["resource"]), sent["amount"]
        if resource is Resource.API_REQUESTS:
            found = self._requests(amount)
        else:
            found = holds.check_entitlement(
                org_id=self.org.pk, resource=resource, amount=amount, now=self.now
            )
        return Response(
            {
                "resource": resource.value,
                "amount": amount,
                "allowed": found.allowed,
                "current": found.current,
                "limit": found.limit,
                "overage": found.overage,
                "reason": found.refusal,
            }
        )

    def _requests(self, amount: int) -> holds.Entitlement:
        limit = effective_limits(org_id=self.org.pk, now=self.now)[Resource.API_REQUESTS].limit
        current = self.counted.last_hour
        allowed = limit is None or current is None or current + amount <= limit
        return holds.Entitlement(
            allowed, current, limit, False, None if allowed else "rate_limited"
        )


@extend_schema(tags=["quotas"])
class HoldViewSet(OrgScopedViewSet):
    """Reserving, committing and releasing."""

    permissions = {
        "list": Permission.QUOTAS_READ,
        "create": Permission.USAGE_WRITE,
        "retrieve": Permission.QUOTAS_READ,
        "commit": Permission.USAGE_WRITE,
        "release": Permission.USAGE_WRITE,
    }
    queries = {"list": HoldQuery}
    without_body = frozenset({"release"})
    serializer_class = HoldSerializer
    queryset = Hold.objects.none()

    @extend_schema(
        operation_id="orgs_quotas_reservations_list",
        summary="List reservations",
        description="Newest first. Settled ones are kept for 90 days.",
        examples=[HELD],
    )
    def list(self, request: Request, org: str) -> Response:
        return self.paged(Hold.objects.for_org(self.org.pk).filter(**self.query), HoldSerializer)

    @extend_schema(
        operation_id="orgs_quotas_reservations_create",
        summary="Reserve compile jobs or storage for work outside of Spoke",
        description="Counts as used at once, and is given back when it expires, unless it is committed.",
        request=HoldInput,
        responses={
            201: HoldSerializer,
            403: OpenApiResponse(ProblemSerializer, examples=[BLOCKED]),
        },
        examples=[
            OpenApiExample(
                "Three jobs for a build",
                value={"resource": "compile_jobs", "amount": 3, "reference": "build-8f14e45f"},
                request_only=True,
            ),
            HELD,
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        sent = self.valid(HoldInput, request.data)
        hold = holds.place_hold(
            org_id=self.org.pk,
            resource=Resource(sent["resource"]),
            amount=sent["amount"],
            lifetime=timedelta(seconds=sent["expires_in"]),
            reference=sent["reference"],
            now=self.now,
        )
        made = self._answer(hold, status=201)
        made.headers["Location"] = f"/orgs/{self.org.pk}/quotas/reservations/{hold.pk}"
        return made

    @extend_schema(
        operation_id="orgs_quotas_reservations_retrieve",
        summary="Read a reservation",
        responses={200: HoldSerializer},
        examples=[HELD],
    )
    def retrieve(self, request: Request, org: str, hold_id: int) -> Response:
        hold = Hold.objects.for_org(self.org.pk).filter(pk=hold_id).first()
        if hold is None:
            raise NotFound("There is no such reservation.")
        return self._answer(hold)

    @extend_schema(
        operation_id="orgs_quotas_reservations_commit",
        summary="Commit what was used of a reservation",
        description="Committing again changes nothing, whatever the amount.",
        request=CommitInput,
        responses={
            200: HoldSerializer,
            409: OpenApiResponse(ProblemSerializer, examples=[EXPIRED]),
        },
        examples=[
            OpenApiExample("Two of three", value={"amount": 2}, request_only=True),
            COMMITTED,
        ],
    )
    def commit(self, request: Request, org: str, hold_id: int) -> Response:
        sent = self.valid(CommitInput, request.data)
        hold = holds.commit_hold(
            org_id=self.org.pk, hold_id=hold_id, amount=sent.get("amount"), now=self.now
        )
        return self._answer(hold)

    @extend_schema(
        operation_id="orgs_quotas_reservations_release",
        summary="Give a reservation back",
        description="Committed storage is given back too, once its bytes are deleted; committed jobs "
        "stay used: 409. Releasing again, or after it expired, changes nothing.",
        request=None,
        responses={
            200: HoldSerializer,
            409: OpenApiResponse(
                ProblemSerializer,
                examples=[
                    problem_example(
                        "Used",
                        status=409,
                        code="reservation_committed",
                        detail="This reservation is committed since 2026-11-23T14:24:09Z.",
                        state="committed",
                    )
                ],
            ),
        },
        examples=[
            OpenApiExample(
                "Released",
                value=_HOLD | {"state": "released", "settled_at": "2026-11-23T14:24:09Z"},
                response_only=True,
            )
        ],
    )
    def release(self, request: Request, org: str, hold_id: int) -> Response:
        hold = holds.release_hold(org_id=self.org.pk, hold_id=hold_id, now=self.now)
        return self._answer(hold)

    def _answer(self, hold: Hold, status: int = 200) -> Response:
        return Response(HoldSerializer(hold).data, status=status)
