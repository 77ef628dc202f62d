"""The admin of plans that staff give, for those who have no subscription: that decides its own plan."""

from typing import Any

from django.contrib import admin
from django.forms import ModelForm

from billing.services import subscriptions
from quotas.admin import PlanAssignmentAdmin
from quotas.models import PlanAssignment


class PlanAssignmentForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Limits and the base price would be those of different plans."""

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        org = data.get("org") or getattr(self.instance, "org", None)
        if org is not None and subscriptions.live_subscription(org_id=org.pk) is not None:
            self.add_error("plan", "A subscription is live: change its plan, or end it first.")
        return data


class SubscribedPlanAssignmentAdmin(PlanAssignmentAdmin):
    """As that of quotas, which knows of no subscriptions."""

    form = PlanAssignmentForm


admin.site.unregister(PlanAssignment)
admin.site.register(PlanAssignment, SubscribedPlanAssignmentAdmin)
