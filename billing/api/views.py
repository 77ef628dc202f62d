"""What needs Stripe: authorised as it will be, and honest that it is not there yet."""

from typing import NoReturn

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from billing.api.serializers import CancelInput, PaymentMethodInput, SubscriptionInput
from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from spoke.core import tenancy
from spoke.core.errors import NotYetAvailable
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.views import SpokeViewSet

TAGS = ["Billing"]
DETAIL = "Payment by card is not available in this version: nothing was changed or charged."
NOT_YET = {
    501: OpenApiResponse(ProblemSerializer, description="Not available in this version."),
}
EXAMPLE = problem_example("Not yet", status=501, code="billing_not_available", detail=DETAIL)
SUBSCRIBE = OpenApiExample(
    "Upgrade to pro",
    value={"plan": "pro", "payment_method_id": "pm_card_visa", "interval": "month"},
    request_only=True,
)


def not_yet() -> NoReturn:
    """Raises NotYetAvailable; called once the caller is known to be allowed."""
    raise NotYetAvailable(DETAIL, code="billing_not_available")


class BillingViewSet(OrgScopedViewSet):
    """Reads and writes of an organization's billing."""

    permissions = {
        "retrieve": Permission.BILLING_READ,
        "read": Permission.BILLING_READ,
        "write": Permission.BILLING_WRITE,
        "subscribe": Permission.BILLING_WRITE,
        "cancel": Permission.BILLING_WRITE,
        "add_payment_method": Permission.BILLING_WRITE,
    }
    without_body = frozenset({"write"})

    @extend_schema(tags=TAGS, summary="Read billing", responses=NOT_YET, examples=[EXAMPLE])
    def read(self, request: Request, org: str, **kwargs: object) -> NoReturn:
        not_yet()

    @extend_schema(
        tags=TAGS, summary="Change billing", request=None, responses=NOT_YET, examples=[EXAMPLE]
    )
    def write(self, request: Request, org: str, **kwargs: object) -> NoReturn:
        not_yet()

    @extend_schema(
        tags=TAGS,
        summary="Subscribe to a plan, or change the subscription",
        request=SubscriptionInput,
        responses=NOT_YET,
        examples=[SUBSCRIBE, EXAMPLE],
    )
    def subscribe(self, request: Request, org: str) -> NoReturn:
        self.valid(SubscriptionInput, request.data, partial=request.method != "POST")
        not_yet()

    @extend_schema(
        tags=TAGS,
        summary="Cancel the subscription",
        request=CancelInput,
        responses=NOT_YET,
        examples=[EXAMPLE],
    )
    def cancel(self, request: Request, org: str) -> NoReturn:
        self.valid(CancelInput, request.data)
        not_yet()

    @extend_schema(
        tags=TAGS,
        summary="Add a payment method",
        request=PaymentMethodInput,
        responses=NOT_YET,
        examples=[EXAMPLE],
    )
    def add_payment_method(self, request: Request, org: str) -> NoReturn:
        self.valid(PaymentMethodInput, request.data)
        not_yet()


class WebhookViewSet(SpokeViewSet):
    """Stripe's webhook. Until it can be verified nothing of it is read or kept."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def scope(self) -> tenancy.Scope:
        return tenancy.NOBODY

    def _read_body(self, request: Request) -> None:
        """The body is left unread."""

    @extend_schema(
        tags=TAGS,
        summary="Stripe's webhook",
        request=None,
        responses=NOT_YET,
        auth=[],
        examples=[EXAMPLE],
    )
    def receive(self, request: Request) -> NoReturn:
        not_yet()
