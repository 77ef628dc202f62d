"""Credit notes: what corrects an invoice that was given out.

Together they never exceed their invoice: each takes its amount from what is left, in one statement.
Where the invoice is at Stripe, Stripe moves the money (`stripe_credit_notes`); else staff do.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import F, Sum

from billing.models import CreditNote, Invoice, InvoiceStatus, NoteKind, NoteSource, NoteStatus
from billing.services.credits import grant_credit
from billing.services.customers import STRIPE
from billing.services.given_back import given_back
from billing.services.invoicing import hold_organization, next_number, settle_invoice
from billing.tax import tax_share
from orgs.context import Actor
from orgs.services.audit import record_event
from spoke.core.errors import Conflict, InvalidInput, NotFound
from spoke.core.money import format_minor

# What an invoice's status lets be done.
KINDS: dict[str, tuple[NoteKind, ...]] = {
    InvoiceStatus.OPEN: (NoteKind.REDUCTION,),
    InvoiceStatus.UNCOLLECTIBLE: (NoteKind.REDUCTION,),
    InvoiceStatus.PAID: (NoteKind.REFUND, NoteKind.CREDIT),
}


def series() -> str:
    """Of which the numbers of notes are, as SPK-CN-2026-000001."""
    return f"{settings.INVOICE_SELLER}-CN"


def issue_note(
    *,
    org_id: int,
    invoice_id: int,
    kind: NoteKind,
    amount_minor: int | None,
    reason: str,
    actor: Actor,
    now: datetime,
) -> CreditNote:
    """An amount of the invoice, tax included, is given back; None: all that is left. Audited.

    An open invoice of which nothing is left to pay is paid. A credit of an invoice that Stripe does not
    collect is the organization's at once. Must run in a transaction. Raises NotFound, InvalidInput for
    more than is left, and Conflict where the invoice's status does not allow the kind.
    """
    # Locks are taken in one order: the organization, its invoice, what it has.
    hold_organization(org_id)
    invoice = _locked(org_id, invoice_id)
    if kind not in KINDS.get(invoice.status, ()):
        raise Conflict(
            f"An invoice that is {invoice.status} is not corrected by a {kind}.",
            code="invoice_status",
        )
    amount = _amount(invoice, kind, amount_minor)
    note = _write(
        invoice,
        amount,
        now,
        number="",
        kind=kind,
        reason=reason,
        created_by=actor.label,
        created_at=now,
    )
    if invoice.stripe_id is None:
        _take_effect(note, actor, now)
    _record(note, actor, "credit_note.issued", now)
    if kind == NoteKind.REDUCTION and invoice.credited_minor + amount == invoice.total_minor:
        settle_invoice(
            org_id=org_id,
            invoice_id=invoice.pk,
            status=InvoiceStatus.PAID,
            actor=actor,
            now=now,
            note=f"Credited in full: {note.number}",
        )
    return note


def _amount(invoice: Invoice, kind: NoteKind, wanted: int | None) -> int:
    """What is wanted, or all that is left. Raises InvalidInput for money that was given back already."""
    left = invoice.total_minor - invoice.credited_minor
    if kind == NoteKind.REDUCTION:
        return left if wanted is None else wanted
    unused = given_back(invoice)
    left -= unused.amount_minor
    if unused.amount_minor and (left <= 0 or (wanted or 0) > left):
        given = format_minor(unused.amount_minor, invoice.currency)
        rest = f"between 1 and {left} can be given back" if left > 0 else "nothing is left of it"
        raise InvalidInput(
            f"Of this invoice {given} {invoice.currency.upper()} was given back for unused time, by"
            f" {', '.join(unused.by)}: {rest}.",
            field="amount_cents",
            code="credit_exceeds_invoice",
        )
    return left if wanted is None else wanted


def _take_effect(note: CreditNote, actor: Actor, now: datetime) -> None:
    """What Stripe does not do: a credit is granted; only a refund is still for staff to pay out."""
    if note.kind == NoteKind.CREDIT:
        grant_credit(
            org_id=note.org_id,
            amount_minor=note.amount_minor,
            currency=note.currency,
            reason=f"Credit note {note.number}",
            actor=actor,
            now=now,
            note=note,
        )
    if note.kind != NoteKind.REFUND:
        _settled(note, actor, now)


def _locked(org_id: int, invoice_id: int) -> Invoice:
    rows = Invoice.objects.for_org(org_id).issued().select_for_update()
    invoice = rows.filter(pk=invoice_id).first()
    if invoice is None:
        raise NotFound("There is no such invoice.")
    return invoice


def _write(invoice: Invoice, amount: int, now: datetime, **values: Any) -> CreditNote:
    """Takes the amount from what is left of the invoice, then writes the note."""
    left = Invoice.objects.filter(
        pk=invoice.pk, total_minor__gt=0, credited_minor__lte=F("total_minor") - amount
    )
    if amount <= 0 or not left.update(credited_minor=F("credited_minor") + amount):
        rest = max(0, invoice.total_minor - invoice.credited_minor)
        raise InvalidInput(
            f"Between 1 and {rest}, which is left of the invoice, can be given back.",
            field="amount_cents",
            code="credit_exceeds_invoice",
        )
    share = _tax_of(invoice, amount)
    return CreditNote.objects.create(
        org_id=invoice.org_id,
        invoice=invoice,
        amount_minor=amount,
        tax_minor=share,
        currency=invoice.currency,
        **(values | {"number": values["number"] or next_number(series(), now)}),
    )


def _tax_of(invoice: Invoice, amount: int) -> int:
    """The tax in an amount: with that of the notes that stand, the tax on all that they take off.

    What a void note had is not lost to those after it, and not taken twice.
    """
    upto = tax_share(
        # A total that is rounded for cards may be a little more than what it is made of.
        gross=max(invoice.subtotal_minor + invoice.tax_minor, invoice.total_minor),
        tax=invoice.tax_minor,
        before=0,
        amount=invoice.credited_minor + amount,
    )
    standing = CreditNote.objects.filter(invoice=invoice).exclude(status=NoteStatus.VOID)
    given = standing.aggregate(tax=Sum("tax_minor"))["tax"] or 0
    return min(max(upto - given, 0), amount)


def copy_note(
    *,
    org_id: int,
    invoice: Invoice,
    kind: NoteKind,
    amount_minor: int,
    number: str,
    stripe_id: str,
    reason: str,
    actor: Actor,
    created_at: datetime,
    now: datetime,
) -> CreditNote:
    """A note or refund that was made at Stripe has its copy here. Must run in a transaction.

    `invoice` is locked. Raises InvalidInput where it is more than is left of the invoice.
    """
    note = _write(
        invoice,
        amount_minor,
        now,
        number=number,
        kind=kind,
        reason=reason,
        created_by=actor.label,
        created_at=created_at,
        source=NoteSource.STRIPE,
        status=NoteStatus.SETTLED,
        settled_at=created_at,
        settled_by=actor.label,
        stripe_id=stripe_id,
        pushed_at=now,
    )
    _record(note, actor, "credit_note.copied", now)
    return note


def settle_note(*, org_id: int, note_id: int, actor: Actor, now: datetime) -> CreditNote:
    """The money of a refund was paid out, by whom and when; the same again is nothing. Audited.

    Must run in a transaction. Raises NotFound, and Conflict for a note that is void or with Stripe.
    """
    note = _locked_note(org_id, note_id)
    if note.status == NoteStatus.SETTLED:
        return note
    if note.status == NoteStatus.VOID:
        raise Conflict("The credit note is void.", code="credit_note_status")
    if note.invoice.stripe_id is not None and note.pushed_at is None:
        raise Conflict("Stripe has yet to be told of it.", code="credit_note_status")
    _settled(note, actor, now)
    _record(note, actor, "credit_note.settled", now)
    return note


def void_note(
    *, org_id: int, note_id: int, actor: Actor, now: datetime, why: str = ""
) -> CreditNote:
    """The note is void: its amount can be credited again; the same again is nothing. Audited.

    Must run in a transaction. Raises NotFound, and Conflict for one of ours that was done: only Stripe
    takes back what it did.
    """
    note = _locked_note(org_id, note_id)
    if note.status == NoteStatus.VOID:
        return note
    done = note.status == NoteStatus.SETTLED and note.stripe_id is None
    at_stripe = note.invoice.stripe_id is not None and not note.push_error
    if done or (at_stripe and actor != STRIPE):
        raise Conflict("It is done, or Stripe has it.", code="credit_note_status")
    note.status, note.settled_at, note.settled_by = NoteStatus.VOID, now, actor.label
    note.save(update_fields=["status", "settled_at", "settled_by"])
    Invoice.objects.filter(pk=note.invoice_id).update(
        credited_minor=F("credited_minor") - note.amount_minor
    )
    _record(note, actor, "credit_note.voided", now, why=why)
    return note


def _locked_note(org_id: int, note_id: int) -> CreditNote:
    rows = CreditNote.objects.filter(org_id=org_id, pk=note_id).select_related("invoice")
    found = rows.select_for_update(of=("self",)).first()
    if found is None:
        raise NotFound("There is no such credit note.")
    return found


def _settled(note: CreditNote, actor: Actor, now: datetime) -> None:
    note.status, note.settled_at, note.settled_by = NoteStatus.SETTLED, now, actor.label
    note.save(update_fields=["status", "settled_at", "settled_by"])


def _record(note: CreditNote, actor: Actor, action: str, now: datetime, *, why: str = "") -> None:
    record_event(
        org_id=note.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("credit_note", note.pk),
        data={
            "number": note.number,
            "invoice": note.invoice_id,
            "kind": note.kind,
            "amount_cents": note.amount_minor,
            "currency": note.currency,
            **({"reason": why} if why else {}),
        },
    )
