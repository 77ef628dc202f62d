"""The budget of overage."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.api import examples
from quotas.api.serializers import RESOURCES
from quotas.models import Budget, BudgetAction
from quotas.services.budgets import DEFAULT_CURRENCY, lock_budget, set_budget
from quotas.services.limits import MAX_BIGINT
from quotas.services.spend import OverageLine, current_spend
from spoke.core.serializers import StrictSerializer


class BudgetChangeSerializer(StrictSerializer):
    """Only what is sent changes."""

    amount_cents = serializers.IntegerField(
        min_value=0,
        max_value=MAX_BIGINT,
        allow_null=True,
        required=False,
        help_text="Minor units of the currency; null: no budget.",
    )
    currency = serializers.RegexField(r"^[a-z]{3}$", required=False)
    action = serializers.ChoiceField(choices=BudgetAction.values, required=False)


class OverageLineSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    unit = serializers.CharField()
    quantity = serializers.CharField(help_text="So many units are used; a decimal number.")
    included = serializers.CharField(help_text="So many of them cost nothing.")
    amount_cents = serializers.IntegerField()


class SpendSerializer(serializers.Serializer[Any]):
    """The overage of the current period so far; storage as if its level stayed until the end."""

    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    amount_cents = serializers.IntegerField()
    percent = serializers.FloatField(
        allow_null=True, help_text="Of the budget; null: there is none."
    )
    lines = OverageLineSerializer(many=True)


class BudgetSerializer(serializers.Serializer[Any]):
    """What a period's overage may cost, and what it costs by now."""

    amount_cents = serializers.IntegerField(allow_null=True, help_text="null: no budget.")
    currency = serializers.CharField()
    action = serializers.ChoiceField(
        choices=BudgetAction.values,
        help_text="`notify` sends messages; `block` also refuses reservations that would pass it.",
    )
    spend = SpendSerializer()


def _line(line: OverageLine) -> dict[str, Any]:
    return {
        "resource": line.resource.value,
        "unit": line.unit,
        "quantity": f"{line.quantity.normalize():f}",
        "included": f"{line.included.normalize():f}",
        "amount_cents": line.amount_minor,
    }


@extend_schema(tags=["billing"])
class BudgetView(OrgScopedViewSet):
    """Reading and setting the budget."""

    permissions = {"retrieve": Permission.BILLING_READ, "update": Permission.BILLING_WRITE}

    def subscribed_in(self) -> str | None:
        """The currency of the live subscription, of which quotas know nothing."""
        return None

    @extend_schema(
        operation_id="orgs_budget_retrieve",
        summary="Read the budget, and what the period's overage costs by now",
        responses={200: BudgetSerializer},
        examples=[examples.BUDGET],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        return self._answer(Budget.objects.filter(org_id=self.org.pk).first())

    @extend_schema(
        operation_id="orgs_budget_update",
        summary="Cap what a period's overage may cost",
        description="Under `block` compile jobs and storage that would make the period's overage cost "
        "more than the budget are refused with 403 `budget_exceeded`, to the cent. API requests are "
        "never refused for it. What was used before the budget was set stays. The currency is the "
        "subscription's unless said; another would never be reached, and is refused.",
        request=BudgetChangeSerializer,
        responses={200: BudgetSerializer},
        examples=[examples.BUDGET_CHANGE, examples.BUDGET],
    )
    def update(self, request: Request, org: str) -> Response:
        sent = self.valid(BudgetChangeSerializer, request.data)
        old = lock_budget(org_id=self.org.pk)
        self.require_match(request, self._name(old))
        budget = set_budget(
            org_id=self.org.pk,
            actor=self.context.actor,
            amount_minor=sent.get("amount_cents", old.amount_minor if old else None),
            currency=sent.get("currency", old.currency if old else self._currency()),
            action=BudgetAction(sent.get("action", old.action if old else BudgetAction.NOTIFY)),
            now=self.now,
            subscribed_in=self.subscribed_in(),
        )
        return self._answer(budget)

    def _answer(self, budget: Budget | None) -> Response:
        currency = budget.currency if budget else self._currency()
        spend = current_spend(org_id=self.org.pk, currency=currency, now=self.now)
        amount = budget.amount_minor if budget else None
        answer = {
            "amount_cents": amount,
            "currency": currency,
            "action": budget.action if budget else BudgetAction.NOTIFY,
            "spend": {
                "period_start": spend.period_start,
                "period_end": spend.period_end,
                "amount_cents": spend.total_minor,
                "percent": round(100 * spend.total_minor / amount, 2) if amount else None,
                "lines": [_line(line) for line in spend.lines],
            },
        }
        return Response(BudgetSerializer(answer).data, headers={"ETag": self._name(budget)})

    def _currency(self) -> str:
        return self.subscribed_in() or DEFAULT_CURRENCY

    def _name(self, budget: Budget | None) -> str:
        return f'"budget-{self.org.pk}-{budget.updated_at.timestamp() if budget else 0}"'
