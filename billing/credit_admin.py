"""The admin of tax, credits, credit notes and partners. Whatever changes goes through a service."""

from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.forms import FileField, IntegerField, ModelForm
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminIntegerFieldWidget

from billing import admin_texts, models
from billing.models import NoteKind
from billing.services import credit_notes
from billing.services.credits import grant_credit
from billing.services.details import OWN, change_details
from billing.services.partners import checked_logo
from billing.tasks import push_details, push_due_notes, sync_taxes
from orgs.admin import actor_of
from spoke.core.admin import ModelAdmin, ReadOnly, change_each
from spoke.core.admin_confirm import ConfirmedSave, Question, confirmed
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.errors import DomainError


class AddOnly:
    """Added through a service, and then shown."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ServiceForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Does what it is for while it is checked, so that a refusal stands beside the field.

    The admin wraps a page in one transaction: a refusal leaves nothing.
    """

    done: Any = None
    request: HttpRequest

    def perform(self, data: dict[str, Any]) -> Any:
        """The service call. Raises DomainError."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the last of a form's checks has no public name
        if self.errors:
            return
        try:
            with transaction.atomic():
                self.done = self.perform(self.cleaned_data)
        except DomainError as error:
            field = self.FIELDS.get(error.field or "", error.field)
            self.add_error(field if field in self.fields else None, error.detail)

    # From a service's names to the form's.
    FIELDS: ClassVar[dict[str, str]] = {"amount_cents": "amount_minor"}


class ServiceAdmin(ModelAdmin):
    """Of a ServiceForm: what it did is what was saved."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        made = super().get_form(request, obj, change=change, **kwargs)
        return type(made.__name__, (made,), {"request": request})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.pk = form.done.pk
        # It is named in what the page says next.
        obj.refresh_from_db()


class CreditForm(ServiceForm):
    amount_minor = IntegerField(
        min_value=1,
        label="Amount",
        help_text="In minor units (cents).",
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        help_texts: ClassVar[dict[str, str]] = {
            "currency": "Three letters, such as usd.",
            "priority": "The lowest is used first.",
        }

    def perform(self, data: dict[str, Any]) -> models.Credit:
        return grant_credit(
            org_id=data["org"].pk,
            amount_minor=data["amount_minor"],
            currency=data["currency"].lower(),
            reason=data["reason"],
            priority=data["priority"],
            expires_at=data["expires_at"],
            actor=actor_of(self.request),
            now=timezone.now(),
        )


@admin.register(models.Credit)
class CreditAdmin(ConfirmedSave, AddOnly, ServiceAdmin):  # type: ignore[misc]
    """What organizations have to their credit; amounts in minor units (cents)."""

    question = Question("Give this credit?", "Yes, give it")

    form = CreditForm
    fields = ("org", "amount_minor", "currency", "reason", "priority", "expires_at")
    list_display = ("org", "reason", "amount_minor", "remaining_minor", "currency", "expires_at")
    list_filter = ("currency",)
    list_select_related = ("org",)
    search_fields = ("org__name", "reason")
    autocomplete_fields = ("org",)
    ordering = ("-id",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        more = ("remaining_minor", "granted_by", "created_at", "note") if obj else ()
        return [self.readable(name) if obj else name for name in (*self.fields, *more)]

    def tells_of(self, obj: Any, *, change: bool) -> str:
        return admin_texts.granted(obj)


@admin.register(models.CreditApplication)
class CreditApplicationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("credit", "invoice", "amount_minor", "applied_at", "returned_at")
    list_select_related = ("credit", "invoice")
    ordering = ("-id",)
    show_full_result_count = False


class NoteForm(ServiceForm):
    """Of an invoice that was given out."""

    amount_minor = IntegerField(
        required=False,
        min_value=1,
        label="Amount",
        help_text="In minor units (cents), tax included; empty: all that is left of the invoice.",
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def perform(self, data: dict[str, Any]) -> models.CreditNote:
        done = credit_notes.issue_note(
            org_id=data["invoice"].org_id,
            invoice_id=data["invoice"].pk,
            kind=NoteKind(data["kind"]),
            amount_minor=data["amount_minor"],
            reason=data["reason"],
            actor=actor_of(self.request),
            now=timezone.now(),
        )
        self.instance.amount_minor = done.amount_minor
        enqueue_on_commit(push_due_notes)
        return done


@admin.register(models.CreditNote)
class CreditNoteAdmin(ConfirmedSave, AddOnly, ServiceAdmin):  # type: ignore[misc]
    """Credit notes. A refund by hand waits as *issued* until it is marked as paid out."""

    question = Question("Issue this credit note?", "Yes, issue it")

    form = NoteForm
    list_display = (
        *("number", "invoice", "kind", "amount_minor", "currency"),
        *("status", "source", "push_error", "created_at"),
    )
    list_filter = ("status", "kind", "source", "currency")
    list_select_related = ("invoice",)
    search_fields = ("number", "invoice__number", "=org__id")
    autocomplete_fields = ("invoice",)
    exclude = ("org",)
    ordering = ("-id",)
    actions = ("mark_paid_out", "push_again", "void")
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ("invoice", "kind", "amount_minor", "reason")
        names = (field.name for field in obj._meta.fields)
        return [self.readable(name) for name in names if name not in ("id", "org")]

    def tells_of(self, obj: Any, *, change: bool) -> str:
        return admin_texts.issued(obj)

    @admin.action(description="Mark as paid out", permissions=["act"])
    @confirmed(Question("Mark as paid out?", "Yes, it was paid out"), admin_texts.paid_out)
    def mark_paid_out(self, request: HttpRequest, rows: list[models.CreditNote]) -> None:
        self._each(request, rows, credit_notes.settle_note)

    @admin.action(description="Tell Stripe again", permissions=["act"])
    def push_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        enqueue_on_commit(push_due_notes)
        messages.success(request, "Stripe is told of what it has not got.")

    @admin.action(description="Void: Stripe refused it, or it was not paid out",
                  permissions=["act"])  # fmt: skip
    @confirmed(Question("Make void?", "Yes, void", "Why"), admin_texts.note_void)
    def void(self, request: HttpRequest, rows: list[models.CreditNote], reason: str) -> None:
        self._each(request, rows, partial(credit_notes.void_note, why=reason))

    def _each(self, request: HttpRequest, rows: list[models.CreditNote], service: Any) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            rows,
            lambda note: service(org_id=note.org_id, note_id=note.pk, actor=actor, now=now),
        )

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may add credit notes in the admin may settle them."""
        return request.user.has_perm("billing.add_creditnote")


class TaxRateForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        help_texts: ClassVar[dict[str, str]] = {
            "country": "Two letters of ISO 3166-1, such as DE.",
            "state": "As addresses there have it, such as CA; empty: all that has no rate of its own.",
            "percentage": "Such as 19 for 19%.",
            "valid_until": "The first day on which it does not hold any more.",
        }

    def clean_country(self) -> str:
        return str(self.cleaned_data["country"]).upper()

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        start, end = data.get("valid_from") or self.instance.valid_from, data.get("valid_until")
        if start and end and end <= start:
            self.add_error("valid_until", "It ends before it begins.")
        return data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the last of a form's checks has no public name
        row, new = self.instance, self.instance.pk is None
        if self.errors:
            return
        try:
            # The database knows whether it overlaps with another.
            with transaction.atomic():
                row.save()
                transaction.set_rollback(True)
        except IntegrityError:
            self.add_error(None, "It overlaps: another rate of the place holds then.")
        finally:
            if new:
                row.pk, row._state.adding = None, True


@admin.register(models.TaxRate)
class TaxRateAdmin(ModelAdmin):
    """Rates on top of prices. One that is there only ends; the next begins on the day it ends."""

    form = TaxRateForm
    list_display = ("country", "state", "name", "percentage", "valid_from", "valid_until")
    list_filter = ("country",)
    search_fields = ("country", "state", "name")
    ordering = ("country", "state", "-valid_from")
    FIXED: ClassVar[tuple[str, ...]] = (
        *("country", "state", "name", "percentage", "valid_from", "stripe_id"),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.FIXED[:-1], "valid_until") if obj is None else (*self.FIXED, "valid_until")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.FIXED if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        enqueue_on_commit(sync_taxes)


class PartnerForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    logo_file = FileField(
        required=False,
        label="Logo",
        help_text="PNG, 64 KiB at most; empty: stays as it is.",
        widget=UnfoldAdminFileFieldWidget,
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        sent = data.get("logo_file")
        if sent:
            try:
                self.instance.logo = checked_logo(sent.read())
            except DomainError as error:
                self.add_error("logo_file", error.detail)
        return data


@admin.register(models.Partner)
class PartnerAdmin(ModelAdmin):
    """Who sells Spoke in their own name. Chosen in an organization's billing details."""

    form = PartnerForm
    fields = ("name", "logo_file", "colour", "address", "footer")
    list_display = ("name", "colour")
    search_fields = ("name",)
    ordering = ("name",)


@admin.register(models.Branding)
class BrandingAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """What documents show of partners, as it was when they were given out."""

    list_display = ("name", "colour", "digest")
    search_fields = ("name", "=digest")
    exclude = ("logo",)
    ordering = ("-id",)


class DetailsForm(ServiceForm):
    class Meta:
        help_texts: ClassVar[dict[str, str]] = {
            "country": "Two letters of ISO 3166-1, such as DE.",
            "partner": "In whose name invoices are printed; empty: ours.",
        }

    def perform(self, data: dict[str, Any]) -> models.BillingDetails:
        org_id = self.instance.org_id or data["org"].pk
        names = (*OWN, "tax_exempt", "partner")
        done = change_details(
            org_id=org_id,
            changes={name: data[name] for name in names},
            actor=actor_of(self.request),
            now=timezone.now(),
        )
        enqueue_on_commit(push_details, org_id)
        return done


@admin.register(models.BillingDetails)
class BillingDetailsAdmin(ServiceAdmin):
    """Whom invoices are made out to. Only here an organization is made tax-exempt or a partner's."""

    form = DetailsForm
    fields = ("org", *OWN, "tax_exempt", "partner")
    list_display = ("org", "legal_name", "country", "tax_id", "tax_exempt", "partner", "push_error")
    list_filter = ("tax_exempt", "country", "partner")
    list_select_related = ("org", "partner")
    search_fields = ("org__name", "legal_name", "=tax_id")
    autocomplete_fields = ("org", "partner")
    ordering = ("-id",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("org",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
