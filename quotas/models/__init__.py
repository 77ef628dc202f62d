"""Tables of plans, limits and usage."""

from quotas.models.meter import (
    EventKey,
    Meter,
    MeterBucket,
    MeterDistinct,
    RollupState,
    UsageEvent,
)
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
    "EventKey",
    "FlushedGeneration",
    "LimitOverride",
    "Meter",
    "MeterBucket",
    "MeterDistinct",
    "PeriodUsage",
    "Plan",
    "PlanAssignment",
    "PlanCharge",
    "PlanLimit",
    "PlanPrice",
    "QuotaSettings",
    "RollupState",
    "UsageBucket",
    "UsageEvent",
    "UsageGauge",
    "UsagePeriod",
]
