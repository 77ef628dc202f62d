"""What quotas refuse."""

from django.conf import settings

from quotas.resources import UNITS, Resource
from spoke.core.errors import DomainError


class QuotaExceeded(DomainError):
    """More than an organization's limit was asked for; nothing was reserved."""

    status, code, title = 403, "quota_exceeded", "Quota exceeded"

    def __init__(self, *, org_id: int, resource: Resource, current: int, limit: int | None) -> None:
        self.resource, self.current, self.limit = resource, current, limit
        super().__init__(
            f"The limit is {limit} {UNITS[resource]}; {current} are in use."
            if limit is not None
            else f"{current} {UNITS[resource]} is as much as can be counted.",
            error="quota_exceeded",
            resource=resource.value,
            current=current,
            limit=limit,
            upgrade_url=f"{settings.SPOKE_BASE_URL}/orgs/{org_id}/subscription",
        )


class BudgetExceeded(DomainError):
    """It would cost more than the organization allows for overage; nothing was reserved."""

    status, code, title = 403, "budget_exceeded", "Budget exceeded"

    def __init__(
        self, *, org_id: int, resource: Resource, budget_minor: int, cost_minor: int, currency: str
    ) -> None:
        self.resource, self.cost_minor = resource, cost_minor
        super().__init__(
            "With this the period's overage would cost more than the budget allows.",
            error="budget_exceeded",
            resource=resource.value,
            budget_cents=budget_minor,
            would_cost_cents=cost_minor,
            currency=currency,
            budget_url=f"{settings.SPOKE_BASE_URL}/orgs/{org_id}/budget",
        )


class PlansMissing(DomainError):
    """The catalogue has no free plan, so nothing can be limited: an operator has to seed it."""

    status, code, title = 503, "plans_missing", "Plans are not set up"

    def __init__(self) -> None:
        super().__init__("No plans are published yet: run `manage.py seed_plans`.")
