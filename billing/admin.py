"""The admin of subscriptions and invoices. Whatever changes goes through a service."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import IntegerField, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from djstripe import admin as _of_djstripe  # noqa: F401 - registers what is replaced below
from djstripe import models as mirrored
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from billing import admin_texts, assignment_admin, credit_admin, models  # noqa: F401 - register what they have
from billing.models import Collection, Invoice, InvoiceStatus, Subscription
from billing.services import inbox, invoicing, subscriptions
from billing.tasks import process_event, push_due_invoices
from orgs.admin import actor_of
from orgs.models import Organization
from spoke.core.admin import ModelAdmin, ReadOnly, TabularInline, amount, change_each, link_to
from spoke.core.admin_confirm import ConfirmedSave, Question, confirmed
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.errors import Conflict, DomainError

AMOUNTS = ("quantity", "unit", "included", "unit_amount", "amount_minor")


class LineInline(TabularInline):
    model = models.InvoiceLine
    fields = ("position", "description", "start", "end", *AMOUNTS)
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Its currency is the invoice's.
        lines: QuerySet[Any] = super().get_queryset(request)
        return lines.select_related("invoice")


@admin.register(Invoice)
class InvoiceAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Documents. How they were settled is told by the actions of the list."""

    list_display = ("__str__", "billed_to", "status", "total_minor", "due", "period_start")
    list_filter = ("status", "currency", "period_start")
    search_fields = ("number", "bill_to__name", "=org__id")
    ordering = ("-period_start", "-id")
    fields = (
        *("number", "status", "source", "organization", "bill_to", "document", "branding"),
        *("period_start", "period_end", "subtotal_minor", "tax_minor", "tax_note", "total_minor"),
        *("credited_minor", "due", "created_at", "finalized_at", "due_at", "settled_at"),
        *("settled_by", "settlement_note", "nothing_due", "stripe_id", "pushed_at"),
        *("failed_at", "tried_with", "prepaid_minor", "payment_url"),
    )
    inlines = (LineInline,)
    actions = ("credit", "mark_paid", "void", "give_up")
    show_full_result_count = False

    @admin.display(description="due")
    def due(self, invoice: Invoice) -> str:
        """What is still to be paid."""
        return amount(invoice.due_minor, invoice.currency)

    @admin.display(description="organization")
    def organization(self, invoice: Invoice) -> str:
        """A link, unless it is purged: an invoice outlives it."""
        org = Organization.objects.filter(pk=invoice.org_id).first()
        return link_to(org) if org else f"purged (it was number {invoice.org_id})"

    @admin.display(description="document")
    def document(self, invoice: Invoice) -> str:
        """As its organization sees it."""
        path = f"/orgs/{invoice.org_id}/invoices/{invoice.pk}"
        return format_html(
            '<a href="{0}/html" class="text-link">page</a>, <a href="{0}/pdf" class="text-link">PDF</a>',
            path,
        )

    @admin.display(description="to")
    def billed_to(self, invoice: Invoice) -> str:
        """The organization's name then."""
        return str(invoice.bill_to.get("name", ""))

    @admin.action(description="Credit", permissions=["act"])
    def credit(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        """Leads to the page that issues a credit note of one invoice."""
        rows = list(queryset[:2])
        if len(rows) != 1:
            messages.error(request, "Choose one invoice.")
            return None
        return redirect(f"{reverse('admin:billing_creditnote_add')}?invoice={rows[0].pk}")

    @admin.action(description="Mark as paid", permissions=["act"])
    @confirmed(
        Question("Mark as paid?", "Yes, it was paid", "How it was paid", reason_required=False),
        admin_texts.paid,
    )
    def mark_paid(self, request: HttpRequest, rows: list[Invoice], reason: str) -> None:
        self._settle(request, rows, InvoiceStatus.PAID, reason)

    @admin.action(description="Void: it was wrong", permissions=["act"])
    @confirmed(Question("Make void?", "Yes, void", "What was wrong"), admin_texts.void)
    def void(self, request: HttpRequest, rows: list[Invoice], reason: str) -> None:
        self._settle(request, rows, InvoiceStatus.VOID, reason)

    @admin.action(description="Give up: it will not be paid", permissions=["act"])
    @confirmed(
        Question("Give up?", "Yes, give up", "Why it will not be paid"), admin_texts.given_up
    )
    def give_up(self, request: HttpRequest, rows: list[Invoice], reason: str) -> None:
        self._settle(request, rows, InvoiceStatus.UNCOLLECTIBLE, reason)

    def _settle(
        self, request: HttpRequest, rows: list[Invoice], status: InvoiceStatus, reason: str
    ) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            rows,
            lambda invoice: invoicing.settle_invoice(
                org_id=invoice.org_id,
                invoice_id=invoice.pk,
                status=status,
                actor=actor,
                now=now,
                note=reason,
            ),
        )
        # Where Stripe collects them it is told.
        enqueue_on_commit(push_due_invoices)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change invoices in the admin may settle them."""
        return request.user.has_perm("billing.change_invoice")


class SubscriptionForm(ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Of a new subscription also the days of its trial."""

    trial_days = IntegerField(
        min_value=0,
        max_value=730,
        initial=0,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        help_texts: ClassVar[dict[str, str]] = {"currency": "Three letters, such as usd."}

    def clean_currency(self) -> str:
        return str(self.cleaned_data["currency"]).lower()

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if self.errors:
            return data
        row = self.instance
        try:
            if row.pk is None:
                subscriptions.check_start(
                    org_id=data["org"].pk,
                    plan=data["plan"],
                    interval=data["interval"],
                    currency=data["currency"],
                )
            else:
                subscriptions.price_of(data["plan"], row.interval, row.currency)
        except DomainError as error:
            self.add_error("plan", error.detail)
        return data


@admin.register(Subscription)
class SubscriptionAdmin(ConfirmedSave, ModelAdmin):  # type: ignore[misc]
    """Subscriptions. Those that are collected by hand are added here, and ended by the list's actions.

    What Stripe collects is changed by its owner, or in Stripe's dashboard, from where it comes back.
    """

    list_display = (
        *("org", "plan", "interval", "currency", "status"),
        *("collection", "current_period_end", "cancel_at_period_end"),
    )
    list_filter = ("status", "collection", "plan__code", "interval", "currency")
    list_select_related = ("org", "plan")
    search_fields = ("org__name", "org__display_name")
    autocomplete_fields = ("org",)
    ordering = ("-id",)
    actions = ("cancel_at_end", "cancel_now", "reactivate")
    form = SubscriptionForm
    question = Question("Is this what you want?", "Yes, do it")
    TERMS: ClassVar[tuple[str, ...]] = ("org", "interval", "currency")
    STATE: ClassVar[tuple[str, ...]] = (
        *("status", "pending_plan", "started_at", "trial_start", "trial_end"),
        *("current_period_start", "current_period_end", "cancel_at_period_end", "canceled_at"),
        "ended_at",
        *("collection", "stripe_id", "past_due_since"),
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        more = self.STATE if obj else ("trial_days",)
        return ("org", "plan", "interval", "currency", *more)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.TERMS, *self.STATE) if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        fixed = obj is not None and (
            obj.ended_at is not None or obj.collection == Collection.STRIPE
        )
        return not fixed and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            subscriptions.change_plan(
                org_id=obj.org_id, plan=obj.plan, actor=actor_of(request), now=timezone.now()
            )
            return
        done = subscriptions.start_subscription(
            org_id=obj.org_id,
            plan=obj.plan,
            interval=obj.interval,
            currency=obj.currency,
            actor=actor_of(request),
            now=timezone.now(),
            trial_days=form.cleaned_data.get("trial_days") or 0,
        )
        obj.pk = done.pk
        obj.refresh_from_db()

    def tells_of(self, obj: Any, *, change: bool) -> str:
        # As the service left it.
        return admin_texts.saved(Subscription.objects.get(pk=obj.pk), change=change)

    def _each(
        self, request: HttpRequest, rows: Iterable[Subscription], change: Callable[..., object]
    ) -> None:
        """The services change an organization's live subscription: here that is to be the row."""

        def change_live(row: Subscription) -> object:
            if row.ended_at is not None:
                raise Conflict("It has ended.")
            return change(org_id=row.org_id, actor=actor_of(request), now=timezone.now())

        change_each(request, rows, change_live)

    @admin.action(description="Cancel at the end of what is paid for", permissions=["act"])
    @confirmed(
        Question("Cancel at the end?", "Yes, cancel then", "Why", reason_required=False),
        admin_texts.canceled_at_end,
    )
    def cancel_at_end(self, request: HttpRequest, rows: list[Subscription], reason: str) -> None:
        self._cancel(request, rows, immediately=False, reason=reason)

    @admin.action(description="Cancel now", permissions=["act"])
    @confirmed(Question("Cancel now?", "Yes, cancel now", "Why"), admin_texts.canceled_now)
    def cancel_now(self, request: HttpRequest, rows: list[Subscription], reason: str) -> None:
        self._cancel(request, rows, immediately=True, reason=reason)

    def _cancel(self, request: HttpRequest, rows: list[Subscription], **how: Any) -> None:
        self._each(request, rows, partial(subscriptions.cancel_subscription, **how))

    @admin.action(description="Take a cancellation back", permissions=["act"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self._each(request, queryset, subscriptions.reactivate_subscription)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change subscriptions in the admin may end them."""
        return request.user.has_perm("billing.change_subscription")


@admin.register(models.InvoiceLine)
class InvoiceLineAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("invoice", "position", "description", *AMOUNTS)
    list_filter = ("kind", "resource")
    list_select_related = ("invoice",)
    exclude = ("org",)
    ordering = ("-invoice_id", "position")
    show_full_result_count = False


@admin.register(models.NumberSequence)
class NumberSequenceAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("seller", "year", "last")
    ordering = ("-year", "seller")


@admin.register(models.WebhookEvent)
class WebhookEventAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """The inbox. Filter by *dead* for what waits for you; replay it when its cause is mended."""

    list_display = ("kind", "object_id", "status", "attempts", "source", "received_at", "due_at")
    list_filter = ("status", "source", "kind")
    search_fields = ("=event_id", "=object_id")
    ordering = ("-received_at", "-id")
    actions = ("replay",)
    show_full_result_count = False

    @admin.action(description="Replay", permissions=["act"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            if inbox.replay(event_id=row.pk, now=timezone.now()):
                enqueue_on_commit(process_event, row.pk)
        messages.success(request, "The events are tried again.")

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change events in the admin may replay them."""
        return request.user.has_perm("billing.change_webhookevent")


@admin.register(models.PaymentMethod)
class PaymentMethodAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("org", "brand", "last4", "exp_month", "exp_year", "is_default", "stripe_id")
    list_select_related = ("org",)
    search_fields = ("org__name", "=stripe_id")
    ordering = ("-id",)


@admin.register(models.StripeCustomer)
class StripeCustomerAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("org", "stripe_id", "created_at")
    list_select_related = ("org",)
    search_fields = ("org__name", "=stripe_id")
    ordering = ("-id",)


@admin.register(models.StripePrice)
class StripePriceAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("price", "stripe_id", "product_id")
    list_select_related = ("price",)
    ordering = ("-id",)


@admin.register(models.DunningNotice)
class DunningNoticeAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("org", "day", "past_due_since", "sent_at")
    list_select_related = ("org",)
    ordering = ("-id",)


class MirrorAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """An object as Stripe last told of it. Its own admin would call Stripe, and shows keys."""

    list_display = ("id", "created", "livemode")
    fields = ("id", "created", "livemode", "stripe_data")
    search_fields = ("=id",)
    ordering = ("-created",)
    show_full_result_count = False


SHOWN = (
    *(mirrored.Customer, mirrored.Subscription, mirrored.Invoice, mirrored.PaymentIntent),
    *(mirrored.Charge, mirrored.Refund, mirrored.Dispute, mirrored.Product, mirrored.Price),
)
for _model in mirrored.__dict__.values():
    if isinstance(_model, type) and admin.site.is_registered(_model):
        admin.site.unregister(_model)
for _model in SHOWN:
    admin.site.register(_model, MirrorAdmin)
