"""What quotas take and answer."""

from typing import Any

from rest_framework import serializers

from quotas.charges import plain
from quotas.events import DECIMALS, MAX_EVENTS, MAX_KEY
from quotas.metering import Aggregation
from quotas.models import Plan
from quotas.rating import MODELS
from quotas.resources import LIMIT_FIELDS, UNITS, Resource
from quotas.services.limits import MAX_BIGINT
from spoke.core.serializers import (
    JSONObjectField,
    PageQuerySerializer,
    StrictQuerySerializer,
    StrictSerializer,
)

RESOURCES = [resource.value for resource in Resource]
NULL_IS_UNLIMITED = "null: unlimited."


def _limit(help_text: str, **kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(
        min_value=0,
        max_value=MAX_BIGINT,
        allow_null=True,
        help_text=f"{help_text} {NULL_IS_UNLIMITED}",
        **kwargs,
    )


class QuotaChangeSerializer(StrictSerializer):
    """Only what is sent changes."""

    max_modules = _limit("Modules.", required=False)
    max_versions_per_module = _limit("Versions of any one module.", required=False)
    max_storage_bytes = _limit("Bytes stored.", required=False)
    max_compile_jobs_per_month = _limit("Compile jobs a month.", required=False)
    api_rate_limit_per_hour = _limit("API requests in any 60 minutes.", required=False)
    custom_settings = JSONObjectField(
        required=False, help_text="An object of your own, replaced as a whole; Spoke only keeps it."
    )
    reset = serializers.ListField(
        child=serializers.ChoiceField(choices=list(LIMIT_FIELDS.values())),
        required=False,
        max_length=len(LIMIT_FIELDS),
        help_text="Overrides to remove: the plan's limit holds again.",
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="When the limits sent along end; null: never."
    )
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Kept in the audit log."
    )


class EffectiveLimitSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    limit = serializers.IntegerField(allow_null=True, help_text=NULL_IS_UNLIMITED)
    unit = serializers.CharField()
    source = serializers.ChoiceField(choices=["plan", "override"])  # type: ignore[assignment]
    overage = serializers.BooleanField(help_text="More is allowed, and billed.")
    used = serializers.IntegerField(
        allow_null=True,
        help_text="Versions: of the fullest module. API requests: of the last 60 minutes, null while "
        "they cannot be read.",
    )
    remaining = serializers.IntegerField(allow_null=True)
    override_expires_at = serializers.DateTimeField(allow_null=True)


class QuotasSerializer(serializers.Serializer[Any]):
    """The limits in force."""

    max_modules = serializers.IntegerField(allow_null=True)
    max_versions_per_module = serializers.IntegerField(allow_null=True)
    max_storage_bytes = serializers.IntegerField(allow_null=True)
    max_compile_jobs_per_month = serializers.IntegerField(allow_null=True)
    api_rate_limit_per_hour = serializers.IntegerField(allow_null=True)
    custom_settings = serializers.DictField()
    plan = serializers.CharField()
    plan_version = serializers.IntegerField()
    limits = EffectiveLimitSerializer(many=True)


class PeriodUsageSerializer(serializers.Serializer[Any]):
    """The usage of one period. Gauges: the level now, or at the period's end."""

    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField(help_text="The first moment that is not in it.")
    status = serializers.ChoiceField(choices=["open", "closed"])
    modules_count = serializers.IntegerField()
    versions_count = serializers.IntegerField(help_text="Over all modules.")
    storage_bytes = serializers.IntegerField()
    storage_average_bytes = serializers.IntegerField(
        allow_null=True,
        help_text="The time-weighted average so far, or of the whole period once it is over.",
    )
    compile_jobs_count = serializers.IntegerField()
    api_requests_count = serializers.IntegerField()


class ResourceUsageSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    unit = serializers.CharField()
    used = serializers.IntegerField(allow_null=True)
    limit = serializers.IntegerField(allow_null=True, help_text=NULL_IS_UNLIMITED)
    percent = serializers.FloatField(allow_null=True)


class UsageSerializer(PeriodUsageSerializer):
    """The current period's usage, and how much of each limit that is."""

    resources = ResourceUsageSerializer(many=True)


class HistoryQuerySerializer(PageQuerySerializer):
    granularity = serializers.ChoiceField(
        choices=["hour", "day"],
        required=False,
        help_text="Answers a series of points instead of periods.",
    )
    resource = serializers.ChoiceField(
        choices=RESOURCES, required=False, help_text="Of the series; default api_requests."
    )
    since = serializers.DateTimeField(
        required=False, help_text="Default: 24 hours or 30 days before `until`."
    )
    until = serializers.DateTimeField(required=False, help_text="Default: now.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "granularity" not in attrs and attrs:
            raise serializers.ValidationError(
                {name: ["This goes with `granularity`."] for name in attrs}
            )
        return attrs


class PeriodUsagePageSerializer(serializers.Serializer[Any]):
    results = PeriodUsageSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class PointSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    used = serializers.IntegerField(
        help_text="The sum over the step; of modules, versions and storage the level at its end."
    )


class SeriesSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    granularity = serializers.ChoiceField(choices=["hour", "day"])
    results = PointSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class EventSerializer(serializers.Serializer[Any]):
    """Documents an event; `quotas.events` checks it, much faster."""

    idempotency_key = serializers.CharField(
        min_length=1, max_length=MAX_KEY, help_text="Stored once in the organization."
    )
    meter = serializers.CharField(max_length=64)
    quantity = serializers.DecimalField(
        max_digits=30,
        decimal_places=DECIMALS,
        coerce_to_string=False,
        help_text="Not negative, unless the meter allows decreases.",
    )
    timestamp = serializers.DateTimeField(help_text="With a time zone.")
    properties = serializers.DictField(
        required=False,
        allow_null=True,
        help_text="Flat: texts, numbers, true, false, null; 32 names at most.",
    )
    organization = serializers.CharField(
        required=False, help_text="If sent, it must be the organization of the address."
    )


class EventBatchSerializer(serializers.Serializer[Any]):
    events = serializers.ListField(child=EventSerializer(), max_length=MAX_EVENTS)


class EventOutcomeSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="In the batch, from 0.")
    idempotency_key = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["duplicate", "rejected"])
    code = serializers.CharField()
    detail = serializers.CharField()


class IngestedSerializer(serializers.Serializer[Any]):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = EventOutcomeSerializer(many=True, help_text="Of duplicates and rejected events only.")


class MeterQuerySerializer(StrictQuerySerializer):
    meter = serializers.CharField(
        required=False, max_length=64, help_text="Only this meter; default: all."
    )
    start = serializers.DateTimeField(
        required=False, help_text="Default: the start of the current period."
    )
    end = serializers.DateTimeField(
        required=False, help_text="The first moment not counted; default: now."
    )
    granularity = serializers.ChoiceField(
        choices=["hour", "day"], required=False, help_text="Adds a series of points."
    )


class MeterPointSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    value = serializers.CharField(allow_null=True)


class MeterUsageSerializer(serializers.Serializer[Any]):
    meter = serializers.CharField()
    name = serializers.CharField()
    aggregation = serializers.ChoiceField(choices=[a.value for a in Aggregation])
    unit = serializers.CharField()
    total = serializers.CharField(
        allow_null=True,
        help_text="An exact decimal number as text; null: max or latest of no events.",
    )
    series = MeterPointSerializer(
        many=True, required=False, help_text="With `granularity`: a point for each hour or day."
    )


class MetersUsageSerializer(serializers.Serializer[Any]):
    """The usage of meters over a stretch of time."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    results = MeterUsageSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class PlanPriceSerializer(serializers.Serializer[Any]):
    interval = serializers.ChoiceField(choices=["month", "year"])
    amount_cents = serializers.IntegerField(source="amount_minor")
    currency = serializers.CharField()


class PlanLimitSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    limit = serializers.IntegerField(allow_null=True, help_text=NULL_IS_UNLIMITED)
    unit = serializers.SerializerMethodField()
    overage = serializers.BooleanField(help_text="More is allowed, and billed.")

    def get_unit(self, row: Any) -> str:
        return UNITS[Resource(row.resource)]


MODEL_HELP = (
    "How units are priced: `per_unit` each; `package` each started one; `graduated` each tier's units at"
    " its price; `volume` all at the price of the tier they reach; `flat` whatever the quantity;"
    " `percentage` of the quantity."
)


class ChargeTierSerializer(serializers.Serializer[Any]):
    """Units up to and with `up_to`, null: all above; amounts in major units."""

    up_to = serializers.CharField(allow_null=True)
    unit_amount = serializers.CharField()
    flat_amount = serializers.CharField(help_text="Added once where the tier is reached.")


class PlanChargeSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=RESOURCES)
    unit = serializers.CharField()
    unit_size = serializers.IntegerField()
    included = serializers.IntegerField()
    model = serializers.ChoiceField(choices=list(MODELS), help_text=MODEL_HELP)
    unit_amount = serializers.SerializerMethodField(
        help_text="Major units of the currency for each unit beyond what is included."
    )
    tiers = ChargeTierSerializer(many=True, help_text="Of `graduated` and `volume` charges.")
    minimum = serializers.SerializerMethodField(help_text="The least a period costs; major units.")
    maximum = serializers.SerializerMethodField(help_text="The most a period costs; major units.")
    currency = serializers.CharField()

    def get_unit_amount(self, row: Any) -> str:
        return plain(row.unit_amount)

    def get_minimum(self, row: Any) -> str | None:
        return None if row.minimum is None else plain(row.minimum)

    def get_maximum(self, row: Any) -> str | None:
        return None if row.maximum is None else plain(row.maximum)


class PlanSerializer(serializers.Serializer[Any]):
    """A plan on sale."""

    code = serializers.CharField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    max_modules = serializers.IntegerField(allow_null=True)
    max_versions_per_module = serializers.IntegerField(allow_null=True)
    max_storage_bytes = serializers.IntegerField(allow_null=True)
    max_compile_jobs_per_month = serializers.IntegerField(allow_null=True)
    api_rate_limit_per_hour = serializers.IntegerField(allow_null=True)
    limits = PlanLimitSerializer(many=True)
    prices = PlanPriceSerializer(many=True)
    charges = PlanChargeSerializer(many=True)

    def to_representation(self, instance: Plan) -> dict[str, Any]:
        order = RESOURCES.index
        limits = sorted(instance.limits.all(), key=lambda row: order(row.resource))
        prices = sorted(instance.prices.all(), key=lambda row: (row.currency, row.interval))
        charges = sorted(
            instance.charges.all(), key=lambda row: (row.currency, order(row.resource))
        )
        flat = {LIMIT_FIELDS[Resource(row.resource)]: row.limit for row in limits}
        return {
            "code": instance.code,
            "version": instance.version,
            "name": instance.name,
            "description": instance.description,
            **flat,
            "limits": PlanLimitSerializer(limits, many=True).data,
            "prices": PlanPriceSerializer(prices, many=True).data,
            "charges": PlanChargeSerializer(charges, many=True).data,
        }
