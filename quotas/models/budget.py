"""How much an organization lets a period's overage cost."""

from django.db import models
from django.db.models import Q


class BudgetAction(models.TextChoices):
    """What happens at the budget: a message only, or reservations beyond it are refused."""

    NOTIFY = "notify"
    BLOCK = "block"


class Budget(models.Model):
    """A cap on the overage of each period, in minor units. Without a row there is none."""

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="budget")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    action = models.CharField(max_length=6, choices=BudgetAction.choices)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="quotas_budget_positive"),
            models.CheckConstraint(
                condition=Q(action__in=BudgetAction.values), name="quotas_budget_action"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: {self.action} at {self.amount_minor} {self.currency}"
