"""The admin of the core's tables, and what every admin shares."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from spoke.core.models import IdempotencyRecord


class ReadOnly:
    """Shown, never changed here: a service does the work."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """The sealed answers are not shown: they may hold secrets."""

    list_display = ("key", "org_id", "user_id", "response_status", "created_at")
    fields = list_display
    search_fields = ("key", "=org_id", "=user_id")
    list_filter = ("response_status",)
