"""The admin of what was counted: read-only."""

from functools import cache
from typing import Any, ClassVar

from django.contrib import admin

from quotas import models
from quotas.resources import Resource
from spoke.core.admin import (
    EMPTY,
    Column,
    ModelAdmin,
    Readable,
    ReadOnly,
    TabularInline,
    column,
    size,
)

# In bytes where the resource is storage.
COUNTED = ("used", "limit", "amount", "included", "unit_size")


@cache
def counted(name: str) -> Column:
    """So many of the row's resource; no limit is none."""

    def show(row: Any) -> str:
        number: int = getattr(row, name)
        return size(number) if row.resource == Resource.STORAGE else f"{number:,}"

    return column(
        name, name.replace("_", " "), show, empty="unlimited" if name == "limit" else EMPTY
    )


class Counted(Readable):
    """Of rows that say how many of a resource."""

    def readable(self, name: Column, *, in_list: bool = False) -> Column:
        if isinstance(name, str) and name in COUNTED:
            return counted(name)
        return super().readable(name, in_list=in_list)


class RecordAdmin(ReadOnly, Counted, ModelAdmin):  # type: ignore[misc]
    """What was counted."""

    search_fields: ClassVar[tuple[str, ...]] = ("org__name", "org__display_name")
    show_full_result_count = False


class PeriodUsageInline(Counted, TabularInline):  # type: ignore[misc]
    model = models.PeriodUsage
    fields = ("resource", "used")


@admin.register(models.UsageGauge)
class UsageGaugeAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "resource", "subject", "used")
    list_filter = ("resource",)
    ordering = ("org_id", "resource", "subject")


@admin.register(models.Budget)
class BudgetAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "amount_minor", "currency", "action", "updated_at")
    list_filter = ("action", "currency")
    ordering = ("org_id",)


@admin.register(models.Hold)
class HoldAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "resource", "amount", "state", "created_at", "expires_at")
    list_filter = ("resource", "state")
    search_fields = (*RecordAdmin.search_fields, "reference")
    ordering = ("-id",)


@admin.register(models.GaugeChange)
class GaugeChangeAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "resource", "at", "used")
    list_filter = ("resource", "at")
    ordering = ("-at", "org_id", "resource")


@admin.register(models.UsagePeriod)
class UsagePeriodAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "start", "end", "closed_at")
    list_filter = ("start", ("closed_at", admin.EmptyFieldListFilter))
    ordering = ("-start", "org_id")
    inlines = (PeriodUsageInline,)


@admin.register(models.PeriodUsage)
class PeriodUsageAdmin(RecordAdmin):
    list_display = ("org", "period", "resource", "used")
    list_filter = ("resource",)
    list_select_related = ("org", "period")
    ordering = ("-period__start", "org_id", "resource")


@admin.register(models.UsageBucket)
class UsageBucketAdmin(RecordAdmin):
    list_select_related = ("org",)
    list_display = ("org", "resource", "hour", "used")
    list_filter = ("resource", "hour")
    ordering = ("-hour", "org_id", "resource")


@admin.register(models.FlushedGeneration)
class FlushedGenerationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("generation", "flushed_at")
    search_fields = ("generation",)
    ordering = ("-flushed_at",)
    show_full_result_count = False


@admin.register(models.Meter)
class MeterAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Meters are published from the file of meters."""

    list_display = ("code", "name", "aggregation", "unit", "allows_decrease", "resource")
    list_filter = ("aggregation",)
    search_fields = ("code", "name")
    ordering = ("code",)


@admin.register(models.UsageEvent)
class UsageEventAdmin(RecordAdmin):
    """In the order of the table's primary key, which a page of any size is read by."""

    list_display = ("org", "meter", "idempotency_key", "quantity", "timestamp", "counted_at")
    list_display_links = None
    list_filter = ("meter",)
    list_select_related = ("org", "meter")
    ordering = ("org_id", "meter_id", "counted_at", "id")


@admin.register(models.EventKey)
class EventKeyAdmin(RecordAdmin):
    list_display = ("org", "digest", "received_at")
    list_display_links = None
    list_select_related = ("org",)
    ordering = ("org_id", "digest")


@admin.register(models.MeterBucket)
class MeterBucketAdmin(RecordAdmin):
    list_display = ("org", "meter", "span", "start", "events", "total", "maximum", "latest")
    list_filter = ("span", "meter")
    list_select_related = ("org", "meter")
    ordering = ("org_id", "meter_id", "span", "start")


@admin.register(models.MeterDistinct)
class MeterDistinctAdmin(RecordAdmin):
    list_display = ("org", "meter", "start", "digest")
    list_filter = ("meter",)
    list_select_related = ("org", "meter")
    ordering = ("org_id", "meter_id", "start", "digest")


@admin.register(models.RollupState)
class RollupStateAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("horizon", "rolled_up_at", "complete_since")


@admin.register(models.AlertSettings)
class AlertSettingsAdmin(RecordAdmin):
    """An organization's own thresholds; its owners and admins change them."""

    list_display = ("org", "thresholds", "revision", "updated_at")
    list_select_related = ("org",)
    ordering = ("org_id",)


@admin.register(models.Alert)
class AlertAdmin(RecordAdmin):
    list_display = ("org", "resource", "threshold", "used", "limit", "fired_at", "notified_at")
    list_filter = ("resource", "notify", ("notified_at", admin.EmptyFieldListFilter))
    list_select_related = ("org",)
    ordering = ("-fired_at", "-id")


@admin.register(models.AlertOptOut)
class AlertOptOutAdmin(RecordAdmin):
    list_display = ("org", "user", "created_at")
    list_select_related = ("org", "user")
    ordering = ("org_id", "user_id")
