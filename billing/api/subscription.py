"""The subscription: read, asked for, changed and ended."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.base import EXAMPLES, REFUSALS, TAGS, BillingViewSet, not_set_up, plan_of
from billing.api.serializers import CancelInput, ChangeInput, PreviewInput, SubscriptionInput
from billing.models import Collection, Subscription, SubscriptionStatus
from billing.services import by_card, previews, subscriptions
from billing.services.arrears import arrears_of
from billing.services.by_card import Wish
from billing.services.customers import add_payment_method, keeping_default
from billing.services.previews import Preview
from billing.stripe import client
from billing.tasks import retry_invoices_of
from quotas.models import Plan
from spoke.core import tenancy
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.errors import InvalidInput, NotFound
from spoke.core.schema import ProblemSerializer
from spoke.core.views import etag_of

SUBSCRIBE = OpenApiExample(
    "Upgrade to pro",
    value={"plan": "pro", "payment_method_id": "pm_card_visa", "interval": "month"},
    request_only=True,
)
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
        "collection": "stripe",
        "past_due_since": None,
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
    status = serializers.ChoiceField(
        choices=SubscriptionStatus.choices,
        help_text="`past_due`: an invoice is overdue, of the base price or of usage.",
    )
    interval = serializers.ChoiceField(choices=["month", "year"])
    currency = serializers.CharField()
    started_at = serializers.DateTimeField()
    trial_end = serializers.DateTimeField(allow_null=True)
    current_period_start = serializers.DateTimeField()
    current_period_end = serializers.DateTimeField()
    cancel_at_period_end = serializers.BooleanField()
    canceled_at = serializers.DateTimeField(allow_null=True)
    collection = serializers.ChoiceField(
        choices=Collection.choices, help_text="By card (stripe), or by hand."
    )
    past_due_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when anything is overdue: `…/billing/balance` says what."
    )

    def get_pending_plan(self, subscription: Subscription) -> str | None:
        plan = subscription.pending_plan
        return plan.code if plan else None


class PaymentStepSerializer(serializers.Serializer[Any]):
    """`requires_action`: the page completes the payment with the secret, and then the limits hold."""

    status = serializers.ChoiceField(
        choices=["succeeded", "requires_action", "requires_payment_method", "processing"]
    )
    client_secret = serializers.CharField(allow_blank=True)


class NewSubscriptionSerializer(SubscriptionSerializer):
    payment = PaymentStepSerializer()


class PreviewLineSerializer(serializers.Serializer[Any]):
    description = serializers.CharField()
    amount_cents = serializers.IntegerField()
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()


class PreviewSerializer(serializers.Serializer[Any]):
    """The invoice that the change would make: at once, or at the end of what is paid for."""

    takes_effect = serializers.ChoiceField(choices=["now", "period_end"])
    currency = serializers.CharField()
    amount_cents = serializers.IntegerField()
    lines = PreviewLineSerializer(many=True)


PREVIEW = OpenApiExample(
    "Half way through the month",
    value={
        "takes_effect": "now",
        "currency": "usd",
        "amount_cents": 22_500,
        "lines": [
            {
                "description": "Unused time on Spoke Pro",
                "amount_cents": -2_450,
                "period_start": "2026-11-20T09:30:00Z",
                "period_end": "2026-12-05T09:30:00Z",
            },
            {
                "description": "Remaining time on Spoke Enterprise",
                "amount_cents": 24_950,
                "period_start": "2026-11-20T09:30:00Z",
                "period_end": "2026-12-05T09:30:00Z",
            },
        ],
    },
    response_only=True,
)


class SubscriptionViewSet(BillingViewSet):
    """The subscription that has not ended."""

    without_body = frozenset({"reactivate"})

    @extend_schema(
        operation_id="orgs_subscription_retrieve",
        tags=TAGS,
        summary="Read the subscription",
        description="404 `no_subscription` where none is live.",
        responses={200: SubscriptionSerializer, 404: ProblemSerializer},
        examples=[SUBSCRIPTION],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        found = subscriptions.live_subscription(org_id=self.org.pk)
        if found is None:
            raise NotFound("There is no subscription.", code="no_subscription")
        return self._answer(found)

    def _answer(self, row: Subscription) -> Response:
        return Response(
            SubscriptionSerializer(self._shown(row)).data, headers={"ETag": etag_of(row)}
        )

    def _shown(self, row: Subscription) -> Subscription:
        """Past due too where what is overdue is an invoice that Stripe does not count."""
        with tenancy.organization(self.org.pk):
            found = arrears_of(org_id=self.org.pk, now=self.now)
        if found is not None:
            row.past_due_since = found.since
            if row.status == SubscriptionStatus.ACTIVE:
                row.status = SubscriptionStatus.PAST_DUE
        return row

    @extend_schema(
        operation_id="orgs_subscription_create",
        tags=TAGS,
        summary="Subscribe to a plan",
        description="Limits hold as soon as the first payment is there, or at once with a trial. A"
        " card whose bank asks for more leaves the subscription `incomplete`, with what a page needs to"
        " go on."
        " Sent again after a failure it goes on where that left it.",
        request=SubscriptionInput,
        responses={201: NewSubscriptionSerializer, **REFUSALS},
        examples=[SUBSCRIBE, SUBSCRIPTION, *EXAMPLES],
    )
    def subscribe(self, request: Request, org: str) -> Response:
        sent = self.valid(SubscriptionInput, request.data)
        wish = Wish(
            plan=plan_of(sent["plan"], org_id=self.org.pk),
            interval=sent["interval"],
            currency=sent["currency"].lower(),
            trial_days=sent.get("trial_period_days", 0),
            payment_method=sent.get("payment_method_id"),
        )
        if not client.configured():
            not_set_up()
        row, step = by_card.subscribe(
            org_id=self.org.pk, wish=wish, actor=self.context.actor, now=self.now
        )
        enqueue_on_commit(retry_invoices_of, self.org.pk)
        row.payment = step  # type: ignore[attr-defined]  # for the serializer
        data = NewSubscriptionSerializer(self._shown(row)).data
        return Response(data, status=201, headers={"ETag": etag_of(row)})

    @extend_schema(
        tags=TAGS,
        summary="Change the plan",
        description="A dearer plan or a longer interval holds at once and is paid at once, prorated"
        " by the second. A cheaper plan holds from the end of what is paid for; asking for the plan in"
        " force takes that back, and keeps the version that was bought.",
        request=ChangeInput,
        responses={200: SubscriptionSerializer, 404: ProblemSerializer, **REFUSALS},
        examples=[SUBSCRIPTION, *EXAMPLES],
    )
    def change(self, request: Request, org: str) -> Response:
        sent = self.valid(ChangeInput, request.data)
        if not sent:
            raise InvalidInput("Send a plan, an interval or a payment method.")
        if not client.configured():
            not_set_up()
        self._match(request)
        row = self._live()
        changes = "plan" in sent or "interval" in sent
        plan = self._wanted(sent, row)
        if changes:
            # Before the card is taken: what is refused leaves nothing.
            by_card.check_change(org_id=self.org.pk, plan=plan, interval=sent.get("interval"))
        with keeping_default(org_id=self.org.pk):
            if sent.get("payment_method_id"):
                add_payment_method(
                    org_id=self.org.pk,
                    payment_method=sent["payment_method_id"],
                    set_as_default=True,
                    wish=self.wish_of(request),
                    now=self.now,
                )
            if changes:
                row = by_card.change_plan(
                    org_id=self.org.pk,
                    plan=plan,
                    interval=sent.get("interval"),
                    actor=self.context.actor,
                    now=self.now,
                )
        if sent.get("payment_method_id"):
            enqueue_on_commit(retry_invoices_of, self.org.pk)
        return self._answer(row)

    def _wanted(self, sent: dict[str, Any], row: Subscription) -> Plan:
        """The plan in force by its name is the version that was bought, whatever came after it."""
        if sent.get("plan") in (None, row.plan.code):
            return row.plan
        return plan_of(sent["plan"], org_id=self.org.pk)

    def _live(self) -> Subscription:
        with tenancy.organization(self.org.pk):
            found = subscriptions.live_subscription(org_id=self.org.pk)
        if found is None:
            raise NotFound("There is no subscription.", code="no_subscription")
        return found

    def _match(self, request: Request) -> None:
        if request.headers.get("If-Match"):
            self.require_match(request, etag_of(self._live()))

    @extend_schema(
        tags=TAGS,
        summary="What a change would cost",
        description="Of who has no subscription, what the plan would cost. Tax is a line of it.",
        request=PreviewInput,
        responses={200: PreviewSerializer, **REFUSALS},
        examples=[PREVIEW, *EXAMPLES],
    )
    def preview(self, request: Request, org: str) -> Response:
        sent = self.valid(PreviewInput, request.data)
        if not client.configured():
            not_set_up()
        interval = sent.get("interval")
        with tenancy.organization(self.org.pk):
            live = subscriptions.live_subscription(org_id=self.org.pk)
        if live is None:
            found = previews.of_start(
                org_id=self.org.pk,
                plan=plan_of(sent["plan"], org_id=self.org.pk),
                interval=interval or "month",
                currency=(sent.get("currency") or "usd").lower(),
                now=self.now,
            )
        else:
            plan = self._wanted(sent, live)
            found = previews.of_change(
                org_id=self.org.pk, plan=plan, interval=interval, now=self.now
            )
        return Response(_previewed(found))

    @extend_schema(
        tags=TAGS,
        summary="Cancel the subscription",
        description="It ends with what is paid for. Immediately: now, with a credit for what is left"
        " unused.",
        request=CancelInput,
        responses={200: SubscriptionSerializer, 404: ProblemSerializer, **REFUSALS},
        examples=[SUBSCRIPTION, *EXAMPLES],
    )
    def cancel(self, request: Request, org: str) -> Response:
        sent = self.valid(CancelInput, request.data)
        if not client.configured():
            not_set_up()
        row = by_card.cancel(
            org_id=self.org.pk,
            immediately=sent["immediately"],
            actor=self.context.actor,
            now=self.now,
        )
        return self._answer(row)

    @extend_schema(
        tags=TAGS,
        summary="Take a cancellation back",
        request=None,
        responses={200: SubscriptionSerializer, 404: ProblemSerializer, **REFUSALS},
        examples=[SUBSCRIPTION, *EXAMPLES],
    )
    def reactivate(self, request: Request, org: str) -> Response:
        if not client.configured():
            not_set_up()
        row = by_card.reactivate(org_id=self.org.pk, actor=self.context.actor, now=self.now)
        return self._answer(row)


def _previewed(found: Preview) -> dict[str, Any]:
    lines = [
        {
            "description": line.description,
            "amount_cents": line.amount_minor,
            "period_start": line.over.start,
            "period_end": line.over.end,
        }
        for line in found.lines
    ]
    answer = {
        "takes_effect": "now" if found.at_once else "period_end",
        "currency": found.currency,
        "amount_cents": found.total_minor,
        "lines": lines,
    }
    return dict(PreviewSerializer(answer).data)
