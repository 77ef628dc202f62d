"""What views of billing share that ask Stripe."""

import hashlib
from typing import NoReturn

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework.request import Request

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.models import Plan
from quotas.services.offers import plans_for
from spoke.core import tenancy
from spoke.core.errors import InvalidInput, NotYetAvailable
from spoke.core.idempotency import read_key
from spoke.core.schema import ProblemSerializer, problem_example

TAGS = ["Billing"]
DETAIL = "Payment by card is not set up on this server: nothing was changed or charged."
BY_HAND = problem_example("Not set up", status=501, code="billing_not_available", detail=DETAIL)
DECLINED = problem_example(
    "Declined",
    status=402,
    code="card_declined",
    detail="Your card has insufficient funds.",
    decline_code="insufficient_funds",
)
AWAY = problem_example(
    "Stripe is away",
    status=503,
    code="stripe_unavailable",
    detail="The payment provider does not answer. Send the request again: nothing is done twice.",
)
REFUSALS = {
    402: OpenApiResponse(ProblemSerializer, description="The card was declined; nothing changed."),
    409: OpenApiResponse(
        ProblemSerializer, description="The subscription does not allow that now."
    ),
    501: OpenApiResponse(ProblemSerializer, description="Payment by card is not set up."),
    503: OpenApiResponse(ProblemSerializer, description="Stripe does not answer; send it again."),
}
EXAMPLES: list[OpenApiExample] = [DECLINED, AWAY, BY_HAND]


def not_set_up() -> NoReturn:
    """Raises NotYetAvailable; called once the caller is known to be allowed."""
    raise NotYetAvailable(DETAIL, code="billing_not_available")


def plan_of(code: str, *, org_id: int) -> Plan:
    """The current version of a plan that is public or on offer to the organization.

    Raises InvalidInput.
    """
    with tenancy.organization(org_id):
        plan = plans_for(org_id=org_id).filter(code=code).first()
    if plan is None:
        raise InvalidInput(f"There is no plan {code!r} to subscribe to.", field="plan")
    return plan


class BillingViewSet(OrgScopedViewSet):
    """Reads and writes of an organization's billing. Writes ask Stripe, outside of a transaction."""

    permissions = {
        "list": Permission.BILLING_READ,
        "retrieve": Permission.BILLING_READ,
        "preview": Permission.BILLING_WRITE,
        "subscribe": Permission.BILLING_WRITE,
        "change": Permission.BILLING_WRITE,
        "cancel": Permission.BILLING_WRITE,
        "reactivate": Permission.BILLING_WRITE,
        "add": Permission.BILLING_WRITE,
        "set_default": Permission.BILLING_WRITE,
        "remove": Permission.BILLING_WRITE,
        "set_up": Permission.BILLING_WRITE,
        "portal": Permission.BILLING_WRITE,
        "checkout": Permission.BILLING_WRITE,
    }
    outside = frozenset(permissions) - {"list", "retrieve"}

    def wish_of(self, request: Request) -> str:
        """The same for a request that is sent again with its Idempotency-Key."""
        key = read_key(request)
        if key is None:
            return f"at-{int(self.now.timestamp())}"
        return f"key-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
