"""The budget of overage, in the currency that the organization pays in."""

from billing.services.subscriptions import live_subscription
from quotas.api.budget import BudgetView


class SubscribedBudgetView(BudgetView):
    """As that of quotas, which knows of no subscriptions."""

    def subscribed_in(self) -> str | None:
        subscription = live_subscription(org_id=self.org.pk)
        return subscription.currency if subscription else None
