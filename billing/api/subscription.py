"""Reading the subscription."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.views import BillingViewSet
from billing.models import Subscription, SubscriptionStatus
from billing.services.subscriptions import live_subscription
from spoke.core.errors import NotFound
from spoke.core.schema import ProblemSerializer
from spoke.core.views import etag_of

TAGS = ["Billing"]
SUBSCRIPTION = OpenApiExample(
    "By month",
    value={
        "id": 17,
        "plan": "pro",
        "plan_version": 1,
        "pending_plan": None,
        "status": "active",
        "interval": "month",
        "currency": "usd",
        "started_at": "2026-10-05T09:30:00Z",
        "trial_end": None,
        "current_period_start": "2026-11-05T09:30:00Z",
        "current_period_end": "2026-12-05T09:30:00Z",
        "cancel_at_period_end": False,
        "canceled_at": None,
    },
    response_only=True,
)


class SubscriptionSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    plan = serializers.CharField(source="plan.code")
    plan_version = serializers.IntegerField(source="plan.version")
    pending_plan = serializers.SerializerMethodField(
        help_text="Takes the plan's place at the end of the current period."
    )
    status = serializers.ChoiceField(choices=SubscriptionStatus.choices)
    interval = serializers.ChoiceField(choices=["month", "year"])
    currency = serializers.CharField()
    started_at = serializers.DateTimeField()
    trial_end = serializers.DateTimeField(allow_null=True)
    current_period_start = serializers.DateTimeField()
    current_period_end = serializers.DateTimeField()
    cancel_at_period_end = serializers.BooleanField()
    canceled_at = serializers.DateTimeField(allow_null=True)

    def get_pending_plan(self, subscription: Subscription) -> str | None:
        plan = subscription.pending_plan
        return plan.code if plan else None


class SubscriptionViewSet(BillingViewSet):
    """The subscription that has not ended."""

    @extend_schema(
        operation_id="orgs_subscription_retrieve",
        tags=TAGS,
        summary="Read the subscription",
        description="404 `no_subscription` where none is live.",
        responses={200: SubscriptionSerializer, 404: ProblemSerializer},
        examples=[SUBSCRIPTION],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        found = live_subscription(org_id=self.org.pk)
        if found is None:
            raise NotFound("There is no subscription.", code="no_subscription")
        return Response(SubscriptionSerializer(found).data, headers={"ETag": etag_of(found)})
