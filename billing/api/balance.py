"""What is overdue, since when, where to pay it, and what happens otherwise."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.services.arrears import UNPAID, arrears_of
from orgs.api.base import OrgScopedViewSet
from orgs.models import OrganizationStatus
from orgs.roles import Permission

BALANCE = OpenApiExample(
    "Two invoices that the card did not pay",
    value={
        "status": "past_due",
        "past_due_since": "2026-11-05T10:30:02Z",
        "suspended_at": "2026-11-19T10:35:00Z",
        "owed": [{"currency": "usd", "amount_cents": 6070}],
        "invoices": [
            {
                "id": 310,
                "number": "8F2C1A07-0003",
                "currency": "usd",
                "amount_due_cents": 4900,
                "overdue_since": "2026-11-05T10:30:02Z",
                "payment_url": "https://invoice.stripe.com/i/acct_1/test_1",
            },
            {
                "id": 311,
                "number": "SPK-2026-000042",
                "currency": "usd",
                "amount_due_cents": 1170,
                "overdue_since": "2026-11-05T10:35:04Z",
                "payment_url": "https://invoice.stripe.com/i/acct_1/test_2",
            },
        ],
    },
    response_only=True,
)


class OverdueSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    number = serializers.CharField()
    currency = serializers.CharField()
    amount_due_cents = serializers.IntegerField(source="due_minor")
    overdue_since = serializers.DateTimeField(source="since")
    payment_url = serializers.CharField(
        help_text="Stripe's page where it can be paid; empty where it is paid by hand."
    )


class OwedSerializer(serializers.Serializer[Any]):
    currency = serializers.CharField()
    amount_cents = serializers.IntegerField()


class BalanceSerializer(serializers.Serializer[Any]):
    """`suspended`: reading works, writing answers 403 until it is paid."""

    status = serializers.ChoiceField(choices=["current", "past_due", "suspended"])
    past_due_since = serializers.DateTimeField(allow_null=True)
    suspended_at = serializers.DateTimeField(
        allow_null=True, help_text="From when nothing can be written unless it is paid before."
    )
    owed = OwedSerializer(many=True)
    invoices = OverdueSerializer(many=True)


class BalanceViewSet(OrgScopedViewSet):
    """What an organization is late with."""

    permissions = {"retrieve": Permission.BILLING_READ}

    @extend_schema(
        operation_id="orgs_billing_balance",
        tags=["Billing"],
        summary="What is overdue, and where to pay it",
        description="An invoice is overdue once a card did not pay it, or, collected by hand, from the"
        " day on which it is due. Paid in whatever way, the organization works again at once.",
        responses=BalanceSerializer,
        examples=[BALANCE],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        found = arrears_of(org_id=self.org.pk, now=self.now)
        unpaid = self.org.status_reason == UNPAID and not self.org.staff_hold
        suspended = unpaid and self.org.status == OrganizationStatus.SUSPENDED
        answer = {
            "status": "suspended" if suspended else "past_due" if found else "current",
            "past_due_since": found.since if found else None,
            "suspended_at": found.ends(self.now) if found else None,
            "owed": [
                {"currency": code, "amount_cents": minor}
                for code, minor in sorted(found.owed.items())
            ]
            if found
            else [],
            "invoices": found.invoices if found else [],
        }
        return Response(BalanceSerializer(answer).data)
