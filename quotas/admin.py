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

from orgs.admin import actor_of
from quotas import models
from quotas.admin_plans import PlanBuilding
from quotas.admin_records import Counted
from quotas.resources import UNITS, Resource
from quotas.services.limits import set_overrides
from quotas.services.offers import offer_plan, withdraw_offer
from quotas.services.plans import assign_plan
from spoke.core.admin import ModelAdmin, ReadOnly, TabularInline
from spoke.core.parsers import parse_json


class LimitInline(Counted, TabularInline):  # type: ignore[misc]
    model = models.PlanLimit
    fields = ("resource", "limit", "overage")


class PriceInline(TabularInline):
    model = models.PlanPrice
    fields = ("currency", "interval", "amount_minor")


class ChargeInline(Counted, TabularInline):  # type: ignore[misc]
    model = models.PlanCharge
    fields = (
        *("resource", "currency", "model", "unit", "unit_size", "included", "unit_amount"),
        *("tiers", "minimum", "maximum"),
    )


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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
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

    class Meta:
        help_texts: ClassVar[dict[str, str]] = {
            "limit": f"In {', '.join(UNITS.values())}; empty: unlimited.",
        }

    def clean_limit(self) -> int | None:
        limit: int | None = self.cleaned_data["limit"]
        if limit is not None and limit < 0:
            raise ValidationError("A limit is not negative.")
        return limit

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError("The expiry must lie in the future.")
        return expires_at


@admin.register(models.LimitOverride)
class LimitOverrideAdmin(Counted, ModelAdmin):  # type: ignore[misc]
    """One organization's own limits. An empty limit is unlimited; deleting brings the plan's back."""

    list_display = ("org", "resource", "limit", "expires_at", "reason", "created_at")
    list_filter = ("resource", "expires_at")
    list_select_related = ("org",)
    search_fields = ("org__name", "org__display_name", "reason")
    autocomplete_fields = ("org",)
    form = LimitOverrideForm
    fields = ("org", "resource", "limit", "expires_at", "reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
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
