"""Alerts of budgets: what the overage of a period costs, in percent of what it may cost."""

from datetime import datetime

from quotas.models import Budget
from quotas.models.alert import OVERAGE
from quotas.services.alert_settings import thresholds_of
from quotas.services.alerts import fire
from quotas.services.periods import current_period
from quotas.services.spend import current_spend
from spoke.core import tenancy


def organizations_with_budgets() -> list[int]:
    """The active organizations that have one."""
    with tenancy.all_organizations(reason="find budgets"):
        rows = Budget.objects.filter(org__status="active").order_by("org_id")
        return list(rows.values_list("org_id", flat=True))


def evaluate_budget(*, org_id: int, now: datetime) -> list[int]:
    """The thresholds that the period's overage reached and that had not fired, once each."""
    budget = Budget.objects.filter(org_id=org_id).first()
    if budget is None:
        return []
    spend = current_spend(org_id=org_id, currency=budget.currency, now=now)
    return fire(
        org_id=org_id,
        period_id=current_period(org_id=org_id, now=now).pk,
        resource=OVERAGE,
        used=spend.total_minor,
        limit=budget.amount_minor,
        thresholds=thresholds_of(org_id=org_id)[OVERAGE],
        now=now,
    )
