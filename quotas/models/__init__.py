"""Tables of plans, limits and usage."""

from quotas.models.alert import Alert, AlertOptOut, AlertSettings
from quotas.models.budget import Budget, BudgetAction
from quotas.models.hold import Hold, HoldState
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
    PlanOffer,
    PlanPrice,
    PlanTerm,
    QuotaSettings,
)
from quotas.models.usage import (
    FlushedGeneration,
    GaugeChange,
    PeriodUsage,
    UsageBucket,
    UsageGauge,
    UsagePeriod,
)

__all__ = [
    "Alert",
    "AlertOptOut",
    "AlertSettings",
    "Budget",
    "BudgetAction",
    "EventKey",
    "FlushedGeneration",
    "GaugeChange",
    "Hold",
    "HoldState",
    "LimitOverride",
    "Meter",
    "MeterBucket",
    "MeterDistinct",
    "PeriodUsage",
    "Plan",
    "PlanAssignment",
    "PlanCharge",
    "PlanLimit",
    "PlanOffer",
    "PlanPrice",
    "PlanTerm",
    "QuotaSettings",
    "RollupState",
    "UsageBucket",
    "UsageEvent",
    "UsageGauge",
    "UsagePeriod",
]
