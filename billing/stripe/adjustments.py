"""Calls to Stripe about credit notes, refunds, taxes, and what pays, under the rules of `gateway`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.models import TaxRate
from billing.stripe import translate
from billing.stripe.client import api, translated
from billing.stripe.translate import InvoiceState, NoteState, RefundState

# Which of our rows a Stripe object is for.
NOTE, RATE = "spoke_credit_note", "spoke_tax_rate"


@dataclass(frozen=True)
class Split:
    """Where an amount of a paid invoice goes, in minor units; nothing of it for an open one."""

    refund: int = 0
    credit: int = 0
    elsewhere: int = 0


def credit_notes_of(invoice: str) -> list[NoteState]:
    """All of an invoice, void ones too, oldest first."""
    with translated():
        found = api().credit_notes.list({"invoice": invoice, "limit": 100})
        return [translate.note(row) for row in found.auto_paging_iter()][::-1]


def refunds_of(invoice: str) -> list[RefundState]:
    """All refunds of an invoice's payments, failed ones too, oldest first."""
    found = []
    for intent in _intents_of(invoice):
        with translated():
            rows = api().refunds.list({"payment_intent": intent, "limit": 100})
            found += [translate.refund(row) for row in rows.auto_paging_iter()][::-1]
    return found


def refundable(invoice: str) -> int:
    """What was taken from cards for an invoice and not given back, in minor units."""
    left = 0
    for intent in _intents_of(invoice):
        with translated():
            rows = api().charges.list({"payment_intent": intent, "limit": 100})
            left += sum(
                row.amount_captured - row.amount_refunded for row in rows.auto_paging_iter()
            )
    return left


def _intents_of(invoice: str) -> list[str]:
    with translated():
        found = api().invoice_payments.list({"invoice": invoice, "status": "paid", "limit": 100})
        intents = (translate.intent_of_payment(row) for row in found.auto_paging_iter())
        return [intent for intent in intents if intent]


def invoice_of_charge(charge: str) -> str | None:
    """The invoice that a charge paid."""
    with translated():
        found = api().charges.retrieve(charge)
        if not found.payment_intent:
            return None
        paid = {"type": "payment_intent", "payment_intent": translate.id_of(found.payment_intent)}
        rows = api().invoice_payments.list({"payment": paid, "limit": 1}).data
    return translate.id_of(rows[0].invoice) if rows else None


def corrected_invoices(customer: str, *, since: datetime) -> set[str]:
    """Invoices of which something was credited or refunded, of notes and charges since a time."""
    wanted = {"customer": customer, "created": {"gte": int(since.timestamp())}, "limit": 100}
    with translated():
        notes = api().credit_notes.list(wanted).auto_paging_iter()
        found = {translate.note(row).invoice for row in notes}
        charges = api().charges.list(wanted).auto_paging_iter()
        refunded = [row.id for row in charges if row.amount_refunded]
    return found | {name for charge in refunded if (name := invoice_of_charge(charge))}


def bills_of(subscription: str) -> list[InvoiceState]:
    """All that was billed for a subscription, newest first, each with ten lines at most."""
    with translated():
        found = api().invoices.list({"subscription": subscription, "limit": 100})
        return [translate.invoice(row) for row in found.auto_paging_iter()]


def create_credit_note(
    *, invoice: str, our_id: int, amount_minor: int, split: Split, memo: str
) -> NoteState:
    """Stripe's credit note of one of ours; asked for twice within a day it is the same one."""
    params: dict[str, Any] = {
        "invoice": invoice,
        "amount": amount_minor,
        "memo": memo,
        "metadata": {NOTE: str(our_id)},
    }
    parts = {
        "refund_amount": split.refund,
        "credit_amount": split.credit,
        "out_of_band_amount": split.elsewhere,
    }
    params |= {name: part for name, part in parts.items() if part}
    key = f"spoke-credit-note-{our_id}-{split.refund}-{split.credit}-{split.elsewhere}"
    with translated():
        return translate.note(api().credit_notes.create(params, {"idempotency_key": key}))


# --- taxes, and what pays ------------------------------------------------------------------------


def stripe_rate_of(rate: TaxRate) -> str:
    """The id of Stripe's tax rate of one of ours, made where there is none. No transaction."""
    if rate.stripe_id:
        return rate.stripe_id
    with translated():
        rows = api().tax_rates.list({"inclusive": False, "limit": 100}).auto_paging_iter()
        there = [row.id for row in rows if (row.metadata or {}).get(RATE) == str(rate.pk)]
        if there:
            name = str(there[0])
        else:
            params = {
                "display_name": rate.name,
                "percentage": f"{rate.percentage.normalize():f}",
                "inclusive": False,
                "country": rate.country,
                "metadata": {RATE: str(rate.pk)},
            }
            if rate.state:
                params["state"] = rate.state
            made = api().tax_rates.create(params, {"idempotency_key": f"spoke-tax-rate-{rate.pk}"})
            name = str(made.id)
    TaxRate.objects.filter(pk=rate.pk, stripe_id=None).update(stripe_id=name)
    return name


def set_customer_details(
    *, customer: str, name: str, address: dict[str, str], tax_exempt: str
) -> None:
    """The customer's name, address and whether they are taxed. Setting it again changes nothing."""
    with translated():
        api().customers.update(
            customer, {"name": name, "address": address or "", "tax_exempt": tax_exempt}
        )


def set_tax_id(*, customer: str, kind: str, value: str) -> None:
    """The customer has this tax id and no other; an empty kind: none. Again it changes nothing."""
    with translated():
        found = list(api().customers.tax_ids.list(customer, {"limit": 100}).auto_paging_iter())
        for row in found:
            if (row.type, row.value) != (kind, value):
                api().customers.tax_ids.delete(customer, row.id)
        if kind and not any((row.type, row.value) == (kind, value) for row in found):
            api().customers.tax_ids.create(customer, {"type": kind, "value": value})


def set_subscription_tax(*, subscription: str, tax_rates: Iterable[str] | None) -> None:
    """Its invoices bear these rates; None: what Stripe Tax says. Again it changes nothing."""
    params: dict[str, Any] = {"automatic_tax": {"enabled": tax_rates is None}}
    params["default_tax_rates"] = list(tax_rates or ()) or ""
    with translated():
        api().subscriptions.update(subscription, params)


def pay_by_default(subscription: str) -> None:
    """The customer's default pays for it, and no card of its own. Again it changes nothing."""
    with translated():
        api().subscriptions.update(subscription, {"default_payment_method": ""})


def close_checkouts(customer: str) -> None:
    """No page of Checkout that was opened before can be paid any more. Again it changes nothing."""
    with translated():
        wanted = {"customer": customer, "status": "open", "limit": 100}
        for row in list(api().checkout.sessions.list(wanted).auto_paging_iter()):
            api().checkout.sessions.expire(row.id)
