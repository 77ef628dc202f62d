"""How an organization pays, and Stripe's pages for it."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.base import EXAMPLES, REFUSALS, TAGS, BillingViewSet, not_set_up, plan_of
from billing.api.serializers import CheckoutInput, PaymentMethodInput, PortalInput
from billing.models import PaymentMethod
from billing.services import customers, pages
from billing.services.by_card import Wish
from billing.stripe import client
from billing.tasks import retry_invoices_of
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.schema import ProblemSerializer
from spoke.core.serializers import PageQuerySerializer

METHOD = OpenApiExample(
    "A card",
    value={
        "stripe_payment_method_id": "pm_1Q0PsIJvEtkwdCNYMSaVuRz6",
        "type": "card",
        "brand": "visa",
        "last4": "4242",
        "exp_month": 12,
        "exp_year": 2029,
        "is_default": True,
        "created_at": "2026-11-05T09:30:00Z",
    },
    response_only=True,
)
PAGE = OpenApiExample(
    "A page", value={"url": "https://billing.stripe.com/p/session/…"}, response_only=True
)


class PaymentMethodSerializer(serializers.Serializer[Any]):
    stripe_payment_method_id = serializers.CharField(source="stripe_id")
    type = serializers.CharField(source="kind")
    brand = serializers.CharField()
    last4 = serializers.CharField()
    exp_month = serializers.IntegerField(allow_null=True)
    exp_year = serializers.IntegerField(allow_null=True)
    is_default = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class SetupIntentSerializer(serializers.Serializer[Any]):
    """What a page adds a card with, by Stripe's own form: the card's number never comes here."""

    id = serializers.CharField()
    client_secret = serializers.CharField()
    publishable_key = serializers.CharField(allow_blank=True)


class PageSerializer(serializers.Serializer[Any]):
    url = serializers.URLField()


class CheckoutSerializer(PageSerializer):
    id = serializers.CharField()


class PaymentMethodViewSet(BillingViewSet):
    """Payment methods, kept at Stripe."""

    without_body = frozenset({"set_default", "set_up"})
    queries = {"list": PageQuerySerializer}
    list_ordering = ("-created_at", "-id")

    @extend_schema(
        tags=TAGS,
        summary="List payment methods",
        responses=PaymentMethodSerializer(many=True),
        examples=[METHOD],
    )
    def list(self, request: Request, org: str) -> Response:
        rows = PaymentMethod.objects.filter(org_id=self.org.pk)
        return self.paged(rows, PaymentMethodSerializer)

    @extend_schema(
        tags=TAGS,
        summary="Add a payment method",
        description="The first one becomes the default. Another default is tried at once for invoices"
        " that the one before did not pay.",
        request=PaymentMethodInput,
        responses={201: PaymentMethodSerializer, **REFUSALS},
        examples=[METHOD, *EXAMPLES],
    )
    def add(self, request: Request, org: str) -> Response:
        sent = self.valid(PaymentMethodInput, request.data)
        if not client.configured():
            not_set_up()
        row = customers.add_payment_method(
            org_id=self.org.pk,
            payment_method=sent["stripe_payment_method_id"],
            set_as_default=sent["set_as_default"],
            wish=self.wish_of(request),
            now=self.now,
            field="stripe_payment_method_id",
        )
        enqueue_on_commit(retry_invoices_of, self.org.pk)
        return Response(PaymentMethodSerializer(row).data, status=201)

    @extend_schema(
        tags=TAGS,
        summary="Make a payment method the default",
        description="It is tried at once, once, for invoices that the one before did not pay.",
        request=None,
        responses={200: PaymentMethodSerializer, 404: ProblemSerializer, **REFUSALS},
        examples=[METHOD, *EXAMPLES],
    )
    def set_default(self, request: Request, org: str, payment_method: str) -> Response:
        if not client.configured():
            not_set_up()
        row = customers.make_default(org_id=self.org.pk, payment_method=payment_method)
        enqueue_on_commit(retry_invoices_of, self.org.pk)
        return Response(PaymentMethodSerializer(row).data)

    @extend_schema(
        tags=TAGS,
        summary="Remove a payment method",
        description="The default of a live subscription stays: 409 `payment_method_needed`.",
        responses={204: None, 404: ProblemSerializer, **REFUSALS},
        examples=EXAMPLES,
    )
    def remove(self, request: Request, org: str, payment_method: str) -> Response:
        if not client.configured():
            not_set_up()
        customers.remove_payment_method(
            org_id=self.org.pk, payment_method=payment_method, now=self.now
        )
        return Response(status=204)

    @extend_schema(
        tags=TAGS,
        summary="Begin to add a card on a page",
        request=None,
        responses={201: SetupIntentSerializer, **REFUSALS},
        examples=EXAMPLES,
    )
    def set_up(self, request: Request, org: str) -> Response:
        if not client.configured():
            not_set_up()
        name, secret = pages.begin_setup(org_id=self.org.pk, now=self.now)
        answer = {
            "id": name,
            "client_secret": secret,
            "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        }
        return Response(SetupIntentSerializer(answer).data, status=201)

    @extend_schema(
        tags=TAGS,
        summary="Open Stripe's billing portal",
        description="A page where cards are changed and the subscription is ended.",
        request=PortalInput,
        responses={201: PageSerializer, **REFUSALS},
        examples=[PAGE, *EXAMPLES],
    )
    def portal(self, request: Request, org: str) -> Response:
        sent = self.valid(PortalInput, request.data)
        if not client.configured():
            not_set_up()
        url = pages.open_portal(
            org_id=self.org.pk,
            return_url=sent.get("return_url") or settings.SPOKE_BASE_URL,
            now=self.now,
        )
        return Response({"url": url}, status=201)

    @extend_schema(
        tags=TAGS,
        summary="Subscribe on Stripe's page",
        request=CheckoutInput,
        responses={201: CheckoutSerializer, **REFUSALS},
        examples=EXAMPLES,
    )
    def checkout(self, request: Request, org: str) -> Response:
        sent = self.valid(CheckoutInput, request.data)
        if not client.configured():
            not_set_up()
        wish = Wish(
            plan=plan_of(sent["plan"], org_id=self.org.pk),
            interval=sent["interval"],
            currency=sent["currency"].lower(),
            trial_days=sent.get("trial_period_days", 0),
        )
        name, url = pages.open_checkout(
            org_id=self.org.pk,
            wish=wish,
            success_url=sent.get("success_url") or settings.SPOKE_BASE_URL,
            cancel_url=sent.get("cancel_url") or settings.SPOKE_BASE_URL,
            now=self.now,
        )
        return Response({"id": name, "url": url}, status=201)
