"""The admin of the core's tables, and what every admin shares."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import FieldDoesNotExist
from django.db import transaction
from django.db.models import DecimalField, ForeignKey
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold import admin as unfold

from spoke.core.errors import DomainError
from spoke.core.models import IdempotencyRecord
from spoke.core.money import format_minor

# Fields that hold what a program said.
PREFORMATTED = ("error", "log")
EMPTY = "-"
Column = str | Callable[[Any], Any]


def column(
    name: str, label: str, show: Callable[[Any], Any], *, empty: str = EMPTY
) -> Callable[[Any], Any]:
    """A column of a list, or a row of a page, that shows a field by `show(row)` and sorts by it.

    `empty` stands where the field is null.
    """

    def shown(row: Any) -> Any:
        return empty if getattr(row, name) is None else show(row)

    shown.__name__ = name
    return admin.display(description=label, ordering=name)(shown)


def amount(minor: int, currency: str) -> str:
    """Minor units as people read them: 1,234.56 USD."""
    return f"{format_minor(minor, currency)} {currency.upper()}"


def money(name: str) -> Callable[[Any], Any]:
    """The column of an amount; its currency is the row's or its invoice's."""

    def show(row: Any) -> str:
        return amount(getattr(row, name), getattr(row, "currency", None) or row.invoice.currency)

    return column(name, name.removesuffix("_minor").replace("_", " "), show)


def plain(number: Decimal) -> str:
    """A decimal number exactly, without the zeros that its column pads it with."""
    whole, _, rest = f"{number:,f}".partition(".")
    rest = rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def size(number: int) -> str:
    """Bytes as people read them, and exactly: 1.5 KB (1,536 bytes)."""
    rounded = str(filesizeformat(number)).replace("\xa0", " ")
    return rounded if number < 1024 else f"{rounded} ({number:,} bytes)"


def as_it_is(text: str) -> Any:
    """A traceback or the output of a program, with its lines and indentation."""
    return format_html('<pre style="white-space: pre-wrap">{}</pre>', text) if text else EMPTY


def link_to(row: Any) -> Any:
    """The row's name, as a link to its page where there is one."""
    meta = row._meta
    try:
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return str(row)
    return format_html('<a href="{}" class="text-link">{}</a>', url, row)


def linked(name: str, label: str) -> Callable[[Any], Any]:
    """What a row belongs to, as a link to its page."""
    return column(name, label, lambda row: link_to(getattr(row, name)))


@cache
def readable(model: Any, name: Column, *, in_list: bool) -> Column:
    """The column that shows a field as people read it; the name itself where it is so anyway."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    if field.name.endswith("_minor"):
        return money(field.name)
    if field.name.endswith("_bytes"):
        label = field.verbose_name.removesuffix(" bytes")
        return column(field.name, label, lambda row: size(getattr(row, field.name)))
    if isinstance(field, DecimalField):
        return column(
            field.name, str(field.verbose_name), lambda row: plain(getattr(row, field.name))
        )
    if field.name in PREFORMATTED and not in_list:
        return column(
            field.name, str(field.verbose_name), lambda row: as_it_is(getattr(row, field.name))
        )
    if in_list and isinstance(field, ForeignKey):
        return linked(field.name, str(field.verbose_name))
    return name


def related_lists(request: HttpRequest, site: Any, row: Any) -> dict[str, list[tuple[str, str]]]:
    """By app the (name, address) of each list that can show what belongs to the row alone."""
    found: dict[str, list[tuple[str, str]]] = {}
    for relation in row._meta.get_fields(include_hidden=True):
        key, meta = getattr(relation, "field", None), getattr(relation.related_model, "_meta", None)
        if relation.concrete or not key or not meta or not site.is_registered(meta.model):
            continue
        if not site.get_model_admin(meta.model).has_view_permission(request):
            continue
        path = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
        target = key.target_field
        query = {f"{key.name}__{target.name}__exact": getattr(row, target.attname)}
        name = str(meta.verbose_name_plural)
        if sum(field.related_model is key.related_model for field in meta.fields) > 1:
            name += f" ({key.verbose_name})"
        lists = found.setdefault(meta.app_config.verbose_name, [])
        lists.append((name, f"{path}?{urlencode(query)}"))
    return {app: sorted(lists) for app, lists in sorted(found.items())}


class Readable:
    """Money with its currency, bytes with their unit; in lists, what a row belongs to as a link."""

    def readable(self: Any, name: Column, *, in_list: bool = False) -> Column:
        """See the function."""
        return readable(self.model, name, in_list=in_list)

    def get_list_display(self, request: HttpRequest) -> Any:
        # The first column is the link to the row's own page.
        first, *others = super().get_list_display(request)  # type: ignore[misc]
        return [self.readable(first), *(self.readable(name, in_list=True) for name in others)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)  # type: ignore[misc]
        if obj is not None and not self.has_change_permission(request, obj):  # type: ignore[attr-defined]
            return [self.readable(name) for name in names]
        read_only = super().get_readonly_fields(request, obj)  # type: ignore[misc]
        return [self.readable(name) if name in read_only else name for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_readonly_fields(request, obj)  # type: ignore[misc]
        return [self.readable(name) for name in names]


class ModelAdmin(Readable, unfold.ModelAdmin):  # type: ignore[misc]
    """What every table's admin is made of. A row's page leads to the lists of what belongs to it."""

    change_form_outer_after_template: Any = "core/admin/related.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        # What no link of the list leads to, and PostgreSQL would refuse.
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            return redirect(f"{request.path}?{ERROR_FLAG}=1")
        if not all(pk.isdecimal() for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            messages.error(request, "Choose rows of the list.")
            return redirect(request.path)
        return super().changelist_view(request, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # Django's search box looks up what was sent before it is checked, and falls over letters.
        sent = request.POST.copy()
        for name in self.autocomplete_fields:
            sent.setlist(name, [pk for pk in sent.getlist(name) if pk.isdecimal()])
        request.POST = sent  # type: ignore[assignment]  # as the request's own code replaces it
        return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            context["related_lists"] = related_lists(request, self.admin_site, obj)
        page: HttpResponse = super().render_change_form(
            request, context, add=add, change=change, form_url=form_url, obj=obj
        )
        return page


class ReadOnly:
    """Shown, never changed here: a service does the work."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TabularInline(ReadOnly, Readable, unfold.TabularInline):  # type: ignore[misc]
    """Rows inside of another's page, all of them read-only."""

    extra = 0
    hide_title = True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names: Any = self.fields
        return [self.readable(name, in_list=True) for name in names]


def change_each(request: HttpRequest, rows: Iterable[Any], change: Callable[[Any], object]) -> None:
    """Runs a service on each row, whole or not at all, and says what became of it."""
    for row in rows:
        try:
            with transaction.atomic():
                change(row)
        except DomainError as error:
            messages.error(request, f"{row}: {error.detail}")
        else:
            messages.success(request, f"{row}: done.")


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """The sealed answers are not shown: they may hold secrets."""

    list_display = ("key", "org_id", "user_id", "response_status", "created_at")
    fields = list_display
    search_fields = ("key", "=org_id", "=user_id")
    list_filter = ("response_status",)
