"""Tables of plans, limits and usage."""

from quotas.models.plan import (
    LimitOverride,
    Plan,
    PlanAssignment,
    PlanCharge,
    PlanLimit,
    PlanPrice,
    QuotaSettings,
)
from quotas.models.usage import (
    FlushedGeneration,
    PeriodUsage,
    UsageBucket,
    UsageGauge,
    UsagePeriod,
)

__all__ = [
    "FlushedGeneration",
    "LimitOverride",
    "PeriodUsage",
    "Plan",
    "PlanAssignment",
    "PlanCharge",
    "PlanLimit",
    "PlanPrice",
    "QuotaSettings",
    "UsageBucket",
    "UsageGauge",
    "UsagePeriod",
]
