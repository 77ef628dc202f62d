"""Every call to Stripe. None may run inside a transaction; each write has an idempotency key.

All raise what `client.translated` says: PaymentDeclined, InvalidInput, NotFound, Conflict, and
ServiceUnavailable where Stripe does not answer.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from billing.stripe import translate
from billing.stripe.client import api, translated
from billing.stripe.translate import (
    CardState,
    CustomerState,
    InvoiceState,
    PaymentStep,
    SubscriptionState,
)

# Which of our rows a Stripe object is for.
ORG, SUBSCRIPTION, INVOICE = "spoke_org", "spoke_subscription", "spoke_invoice"
_PAYMENT = "payments.data.payment.payment_intent"
_PAYMENTS = f"latest_invoice.{_PAYMENT}"


def _key(key: str) -> dict[str, Any]:
    return {"idempotency_key": key}


# --- customers and how they pay --------------------------------------------------------------


def create_customer(*, org_id: int, name: str, email: str) -> CustomerState:
    """The organization's customer; asked for twice within a day it is the same one."""
    with translated():
        made = api().customers.create(
            {"name": name, "email": email, "metadata": {ORG: str(org_id)}},
            _key(f"spoke-customer-{org_id}"),
        )
    return translate.customer(made)


def get_customer(customer: str) -> CustomerState:
    """Also of one that was deleted."""
    with translated():
        return translate.customer(api().customers.retrieve(customer))


def set_default_payment_method(*, customer: str, payment_method: str) -> CustomerState:
    """Invoices are paid by it from now on. Setting it again changes nothing."""
    settings = {"default_payment_method": payment_method}
    with translated(field="payment_method_id"):
        return translate.customer(api().customers.update(customer, {"invoice_settings": settings}))


def attach_payment_method(*, customer: str, payment_method: str, key: str, field: str) -> CardState:
    """The payment method, or what a test token was made into, belongs to the customer."""
    with translated(field=field):
        return translate.card(
            api().payment_methods.attach(payment_method, {"customer": customer}, _key(key))
        )


def detach_payment_method(payment_method: str) -> CardState:
    """It belongs to nobody any more."""
    with translated():
        return translate.card(api().payment_methods.detach(payment_method))


def get_payment_method(payment_method: str) -> CardState:
    with translated():
        return translate.card(api().payment_methods.retrieve(payment_method))


def payment_methods_of(customer: str) -> list[CardState]:
    """All that are attached."""
    with translated():
        found = api().customers.payment_methods.list(customer, {"limit": 100})
        return [translate.card(row) for row in found.auto_paging_iter()]


def create_setup_intent(*, customer: str, key: str | None) -> tuple[str, str]:
    """(id, client secret) of an intent by which a page adds a card."""
    with translated():
        made = api().setup_intents.create(
            {"customer": customer, "usage": "off_session"}, _key(key) if key else {}
        )
    return made.id, made.client_secret


# --- subscriptions ---------------------------------------------------------------------------


def create_subscription(
    *,
    customer: str,
    price: str,
    org_id: int,
    our_id: int,
    trial_days: int,
    tax_rates: list[str] | None,
    key: str,
) -> tuple[SubscriptionState, PaymentStep]:
    """A subscription that the customer's default pays; unpaid it is incomplete.

    `tax_rates` are Stripe's; None: Stripe Tax reckons.
    """
    params: dict[str, Any] = {
        "customer": customer,
        "items": [{"price": price}],
        "payment_behavior": "allow_incomplete",
        "metadata": {ORG: str(org_id), SUBSCRIPTION: str(our_id)},
        "expand": [_PAYMENTS],
        **_tax(tax_rates),
    }
    if trial_days:
        params["trial_period_days"] = trial_days
    with translated():
        made = api().subscriptions.create(params, _key(key))
    return translate.subscription(made), translate.payment_step(made)


def _tax(tax_rates: list[str] | None) -> dict[str, Any]:
    if tax_rates is None:
        return {"automatic_tax": {"enabled": True}}
    return {"default_tax_rates": tax_rates} if tax_rates else {}


def get_subscription(subscription: str) -> SubscriptionState:
    with translated():
        return translate.subscription(api().subscriptions.retrieve(subscription))


def get_payment_step(subscription: str) -> PaymentStep:
    """What the latest invoice of a subscription waits for."""
    with translated():
        found = api().subscriptions.retrieve(subscription, {"expand": [_PAYMENTS]})
    return translate.payment_step(found)


def subscriptions_of(customer: str) -> list[SubscriptionState]:
    """All of them, ended ones too, newest first."""
    with translated():
        found = api().subscriptions.list({"customer": customer, "status": "all", "limit": 100})
        return [translate.subscription(row) for row in found.auto_paging_iter()]


def change_price(
    *, subscription: SubscriptionState, price: str, prorate: bool, key: str
) -> SubscriptionState:
    """The subscription is at this price. Prorated: paid at once, or refused and unchanged."""
    params: dict[str, Any] = {
        "items": [{"id": subscription.item, "price": price}],
        "proration_behavior": "always_invoice" if prorate else "none",
    }
    if prorate:
        params["payment_behavior"] = "error_if_incomplete"
    with translated():
        return translate.subscription(
            api().subscriptions.update(subscription.id, params, _key(key))
        )


def preview_change(
    *, subscription: SubscriptionState, price: str, prorate: bool, at: datetime
) -> InvoiceState:
    """The invoice that such a change would make at a time; nothing is changed."""
    details: dict[str, Any] = {
        "items": [{"id": subscription.item, "price": price}],
        "proration_behavior": "always_invoice" if prorate else "none",
    }
    if prorate:
        details["proration_date"] = int(at.timestamp())
    with translated():
        found = api().invoices.create_preview(
            {"subscription": subscription.id, "subscription_details": details}
        )
        return _with_named_taxes(translate.invoice(found))


def set_cancel_at_period_end(*, subscription: str, cancel: bool) -> SubscriptionState:
    """It ends with what is paid for, or goes on. Setting it again changes nothing."""
    with translated():
        return translate.subscription(
            api().subscriptions.update(subscription, {"cancel_at_period_end": cancel})
        )


def cancel_now(*, subscription: str, prorate: bool) -> SubscriptionState:
    """It has ended; `prorate`: what was left unused is a credit. Ending it again changes nothing."""
    found = get_subscription(subscription)
    if found.ended_at is not None:
        return found
    params = {"invoice_now": prorate, "prorate": prorate}
    with translated():
        return translate.subscription(api().subscriptions.cancel(subscription, params))


# --- invoices --------------------------------------------------------------------------------


def get_invoice(invoice: str) -> InvoiceState:
    """With all of its lines, its taxes by name, and how its payment went."""
    with translated():
        found = translate.invoice(api().invoices.retrieve(invoice, {"expand": [_PAYMENT]}))
        lines = api().invoices.line_items.list(invoice, {"limit": 100})
        every = [translate.line(row) for row in lines.auto_paging_iter()]
        return replace(_with_named_taxes(found), lines=every)


def _with_named_taxes(found: InvoiceState) -> InvoiceState:
    titles = {
        tax.rate: translate.rate_title(api().tax_rates.retrieve(tax.rate))
        for tax in found.taxes
        if tax.rate
    }
    named = [replace(tax, description=titles.get(tax.rate or "", "Tax")) for tax in found.taxes]
    return replace(found, taxes=named)


def invoices_of(customer: str, *, since: datetime) -> list[InvoiceState]:
    """Those made since a time, newest first."""
    created = {"gte": int(since.timestamp())}
    with translated():
        found = api().invoices.list({"customer": customer, "created": created, "limit": 100})
        return [translate.invoice(row) for row in found.auto_paging_iter()]


def find_invoice(*, customer: str, our_id: int) -> InvoiceState | None:
    """Stripe's invoice of one of ours."""
    with translated():
        found = api().invoices.list({"customer": customer, "limit": 100})
        for row in found.auto_paging_iter():
            state = translate.invoice(row)
            if state.metadata.get(INVOICE) == str(our_id):
                return state
    return None


def create_invoice(
    *, customer: str, currency: str, number: str, org_id: int, our_id: int
) -> InvoiceState:
    """A draft with our number; asked for twice within a day it is the same one."""
    with translated():
        return translate.invoice(
            api().invoices.create(
                {
                    "customer": customer,
                    "currency": currency,
                    "number": number,
                    "auto_advance": False,
                    "collection_method": "charge_automatically",
                    "pending_invoice_items_behavior": "exclude",
                    "metadata": {ORG: str(org_id), INVOICE: str(our_id)},
                },
                _key(f"spoke-invoice-{our_id}"),
            )
        )


def add_line(
    *,
    customer: str,
    invoice: str,
    our_id: int,
    amount_minor: int,
    currency: str,
    description: str,
    start: datetime,
    end: datetime,
) -> None:
    """The draft has this line of ours, once."""
    with translated():
        api().invoice_items.create(
            {
                "customer": customer,
                "invoice": invoice,
                "amount": amount_minor,
                "currency": currency,
                "description": description,
                "period": {"start": int(start.timestamp()), "end": int(end.timestamp())},
                "metadata": {"spoke_line": str(our_id)},
            },
            _key(f"spoke-line-{our_id}"),
        )


def lines_pushed(invoice: str) -> set[str]:
    """Ids of our lines that the invoice has."""
    with translated():
        found = api().invoices.line_items.list(invoice, {"limit": 100})
        return {
            name
            for row in found.auto_paging_iter()
            if (name := (row.metadata or {}).get("spoke_line"))
        }


def finalize_invoice(invoice: str) -> InvoiceState:
    """It is open, and Stripe collects it."""
    with translated():
        return translate.invoice(api().invoices.finalize_invoice(invoice, {"auto_advance": True}))


def pay_invoice(invoice: str) -> InvoiceState:
    """Paid, by the customer's default. Raises PaymentDeclined, and Conflict where nothing can pay."""
    with translated():
        return translate.invoice(api().invoices.pay(invoice, {"off_session": True}))


def pay_invoice_by(state: InvoiceState, payment_method: str) -> InvoiceState:
    """Paid by this payment method; one try, however often it is asked for. Raises as pay_invoice."""
    key = f"spoke-pay-{state.id}-{payment_method}-{state.attempts}"
    params = {"off_session": True, "payment_method": payment_method}
    with translated():
        return translate.invoice(api().invoices.pay(state.id, params, _key(key)))


def void_invoice(invoice: str) -> InvoiceState:
    with translated():
        return translate.invoice(api().invoices.void_invoice(invoice))


def pay_out_of_band(invoice: str) -> InvoiceState:
    """It was paid some other way."""
    with translated():
        return translate.invoice(api().invoices.pay(invoice, {"paid_out_of_band": True}))


def give_up_invoice(invoice: str) -> InvoiceState:
    with translated():
        return translate.invoice(api().invoices.mark_uncollectible(invoice))


# --- pages of Stripe's, and events -----------------------------------------------------------


def create_portal(*, customer: str, return_url: str) -> str:
    """The address of Stripe's page where the customer changes cards and ends subscriptions."""
    with translated():
        made = api().billing_portal.sessions.create(
            {"customer": customer, "return_url": return_url}
        )
    return str(made.url)


def create_checkout(
    *,
    customer: str,
    price: str,
    org_id: int,
    trial_days: int,
    tax_rates: list[str] | None,
    success_url: str,
    cancel_url: str,
) -> tuple[str, str]:
    """(id, address) of Stripe's page where the customer subscribes."""
    data: dict[str, Any] = {"metadata": {ORG: str(org_id)}}
    if trial_days:
        data["trial_period_days"] = trial_days
    # Of a session the automatic tax is its own, rates are its subscription's.
    automatic: dict[str, Any] = {}
    if tax_rates is None:
        automatic = _tax(None) | {"customer_update": {"address": "auto"}}
    data |= _tax(tax_rates) if tax_rates else {}
    with translated():
        made = api().checkout.sessions.create(
            {
                "customer": customer,
                "mode": "subscription",
                "line_items": [{"price": price, "quantity": 1}],
                "subscription_data": data,
                "success_url": success_url,
                "cancel_url": cancel_url,
                **automatic,
            }
        )
    return made.id, made.url


def undelivered_events(*, since: datetime) -> Iterator[dict[str, Any]]:
    """Events that no webhook took, oldest last."""
    with translated():
        found = api().events.list(
            {"created": {"gte": int(since.timestamp())}, "delivery_success": False, "limit": 100}
        )
        for row in found.auto_paging_iter():
            yield _as_delivered(row)


def _as_delivered(event: Any) -> dict[str, Any]:
    """As a webhook has it: the client makes Decimals of some texts."""
    return dict(json.loads(json.dumps(event.to_dict(), default=str)))
