"""The admin of plans, limits and usage. Whatever changes goes through a service."""

import json
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import APIException
from unfold.admin import ModelAdmin, TabularInline

from orgs.admin import actor_of
from quotas import models
from quotas.admin_plans import PlanBuilding
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from quotas.services.offers import offer_plan, withdraw_offer
from quotas.services.plans import assign_plan
from spoke.core.admin import ReadOnly
from spoke.core.parsers import parse_json


class LimitInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = models.PlanLimit
    fields = ("resource", "limit", "overage")


class PriceInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = models.PlanPrice
    fields = ("currency", "interval", "amount_minor")


class ChargeInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = models.PlanCharge
    fields = (
        *("resource", "currency", "model", "unit", "unit_size", "included", "unit_amount"),
        *("tiers", "minimum", "maximum"),
    )


class PeriodUsageInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = models.PeriodUsage
    fields = ("resource", "used")


@admin.register(models.Plan)
class PlanAdmin(PlanBuilding, ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Plans are published from the file of plans, or built here for somebody, and never edited."""

    list_display = ("code", "version", "name", "is_public", "created_at", "superseded_at")
    list_filter = ("code", "is_public", ("superseded_at", admin.EmptyFieldListFilter))
    search_fields = ("code", "name")
    ordering = ("position", "-version")
    inlines = (LimitInline, PriceInline, ChargeInline)


class PlanOfferForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Says beside the field what the service would refuse."""

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if not models.Plan.objects.current().filter(code=code).exists():
            raise ValidationError("There is no such plan.")
        return code


@admin.register(models.PlanOffer)
class PlanOfferAdmin(ModelAdmin):
    """Which plans outside of the catalogue an organization may subscribe to."""

    list_display = ("org", "code", "created_at")
    list_filter = ("code",)
    list_select_related = ("org",)
    search_fields = ("org__name", "org__display_name", "code")
    autocomplete_fields = ("org",)
    fields = ("org", "code")
    form = PlanOfferForm

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        done = offer_plan(
            org_id=obj.org_id, code=obj.code, actor=actor_of(request), now=timezone.now()
        )
        obj.pk = done.pk

    def delete_model(self, request: HttpRequest, obj: models.PlanOffer) -> None:
        withdraw_offer(
            org_id=obj.org_id, code=obj.code, actor=actor_of(request), now=timezone.now()
        )

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[models.PlanOffer]) -> None:
        for obj in queryset.order_by("org_id", "code"):
            self.delete_model(request, obj)


@admin.register(models.PlanAssignment)
class PlanAssignmentAdmin(ModelAdmin):
    """Assigning takes effect at once and is audited. Assign `free` instead of deleting."""

    list_display = ("org", "plan", "assigned_at")
    list_filter = ("plan__code",)
    list_select_related = ("org", "plan")
    search_fields = ("org__name", "org__display_name")
    autocomplete_fields = ("org",)
    fields = ("org", "plan")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("org",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        done = assign_plan(
            org_id=obj.org_id, plan=obj.plan, actor=actor_of(request), now=timezone.now()
        )
        obj.pk, obj.assigned_at = done.pk, done.assigned_at


@admin.register(models.PlanTerm)
class PlanTermAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Which plan version an organization had, since when."""

    list_display = ("org", "plan", "start")
    list_select_related = ("org", "plan")
    list_filter = ("plan__code",)
    search_fields = ("org__name", "org__display_name")
    ordering = ("org_id", "-start")


class LimitOverrideForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Says beside the field what the service would refuse."""

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError("The expiry must lie in the future.")
        return expires_at


@admin.register(models.LimitOverride)
class LimitOverrideAdmin(ModelAdmin):
    """One organization's own limits. An empty limit is unlimited; deleting brings the plan's back."""

    list_display = ("org", "resource", "limit", "expires_at", "reason", "created_at")
    list_filter = ("resource", "expires_at")
    list_select_related = ("org",)
    search_fields = ("org__name", "org__display_name", "reason")
    autocomplete_fields = ("org",)
    form = LimitOverrideForm
    fields = ("org", "resource", "limit", "expires_at", "reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("org", "resource") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        set_overrides(
            org_id=obj.org_id,
            actor=actor_of(request),
            now=timezone.now(),
            limits={Resource(obj.resource): obj.limit},
            expires_at=obj.expires_at,
            reason=obj.reason,
        )
        obj.pk = models.LimitOverride.objects.get(org_id=obj.org_id, resource=obj.resource).pk

    def delete_model(self, request: HttpRequest, obj: models.LimitOverride) -> None:
        set_overrides(
            org_id=obj.org_id,
            actor=actor_of(request),
            now=timezone.now(),
            reset=[Resource(obj.resource)],
        )

    def delete_queryset(
        self, request: HttpRequest, queryset: QuerySet[models.LimitOverride]
    ) -> None:
        for obj in queryset.order_by("org_id", "resource"):
            self.delete_model(request, obj)


class QuotaSettingsForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Takes what the API takes: the database cannot keep all that the field can read."""

    def clean_custom_settings(self) -> dict[str, Any]:
        sent = self.cleaned_data["custom_settings"]
        try:
            value = parse_json(json.dumps(sent).encode())
        except APIException as exc:
            raise ValidationError("This cannot be stored.") from exc
        if not isinstance(value, dict):
            raise ValidationError("A JSON object is expected.")
        return value


@admin.register(models.QuotaSettings)
class QuotaSettingsAdmin(ModelAdmin):
    """What staff keep beside an organization's limits."""

    list_display = ("org", "revision", "updated_at")
    list_select_related = ("org",)
    search_fields = ("org__name", "org__display_name")
    autocomplete_fields = ("org",)
    form = QuotaSettingsForm
    fields = ("org", "custom_settings")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("org",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        done = set_overrides(
            org_id=obj.org_id,
            actor=actor_of(request),
            now=timezone.now(),
            custom_settings=obj.custom_settings,
        )
        obj.pk = done.pk


class RecordAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """What was counted."""

    search_fields: ClassVar[tuple[str, ...]] = ("org__name", "org__display_name")
    show_full_result_count = False


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
