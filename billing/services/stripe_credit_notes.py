"""Credit notes and Stripe: ours move money there, and those made in its dashboard are copied here.

Nothing here runs inside a transaction.
"""

from datetime import datetime

import structlog
from django.db.models import Q

from billing.models import CreditNote, Invoice, NoteKind, NoteSource, NoteStatus
from billing.services import credit_notes
from billing.services.customers import STRIPE, organization_of
from billing.stripe import adjustments, gateway
from billing.stripe.adjustments import Split
from billing.stripe.translate import InvoiceState, NoteState, RefundState
from spoke.core import tenancy
from spoke.core.errors import Conflict, DomainError
from spoke.core.locks import held

logger = structlog.get_logger(__name__)
# A reduction of an invoice that Stripe has only now is done here, and not yet there.
UNTOLD = Q(source=NoteSource.SPOKE, pushed_at__isnull=True, invoice__stripe_id__isnull=False) & (
    Q(status=NoteStatus.ISSUED) | Q(status=NoteStatus.SETTLED, kind=NoteKind.REDUCTION)
)


def push_lock(invoice_id: int) -> str:
    """Of the lock under which Stripe is told of an invoice of ours and its notes."""
    return f"push-invoice-{invoice_id}"


def due_for_push() -> list[tuple[int, int]]:
    """(organization, note) of those that Stripe has yet to be told of."""
    with tenancy.all_organizations(reason="find credit notes to push"):
        rows = CreditNote.objects.filter(UNTOLD).order_by("pk")
        return list(rows.values_list("org_id", "pk"))


def push_note(*, org_id: int, note_id: int, now: datetime) -> str | None:
    """Stripe has this note of ours, once, and has moved the money; returns its id there.

    What Stripe refuses, or does not answer, is kept with the note for staff to read, and tried again: it
    is None then, as where there is nothing to tell.
    """
    with tenancy.organization(org_id):
        invoice_id = CreditNote.objects.get(org_id=org_id, pk=note_id).invoice_id
    with held(push_lock(invoice_id)):
        return _push(org_id, note_id, now)


def push_reductions(*, org_id: int, invoice_id: int, now: datetime) -> bool:
    """What was taken off an open invoice is taken off at Stripe; says whether it was not yet.

    The caller holds the lock of the invoice. Raises Conflict where Stripe has not done all of it: who
    collects the invoice then would take too much.
    """
    with tenancy.organization(org_id):
        rows = CreditNote.objects.filter(
            UNTOLD, org_id=org_id, invoice_id=invoice_id, kind=NoteKind.REDUCTION
        )
        waiting = list(rows.order_by("pk").values_list("pk", flat=True))
    for note_id in waiting:
        _push(org_id, note_id, now)
    with tenancy.organization(org_id):
        if rows.exists():
            raise Conflict("A reduction is not at Stripe yet.", code="credit_note_status")
    return bool(waiting)


def _push(org_id: int, note_id: int, now: datetime) -> str | None:
    with tenancy.organization(org_id):
        rows = CreditNote.objects.filter(UNTOLD, org_id=org_id, pk=note_id)
        # Without an error it is under way, and nobody may void it.
        rows.update(push_error="")
        note = rows.select_related("invoice").first()
    if note is None:
        return None
    try:
        state, split = _found_or_made(note)
    except DomainError as error:
        with tenancy.organization(org_id):
            rows.update(push_error=error.detail[:500])
        logger.warning("stripe.credit_note_refused", note=note.number, cause=error.detail)
        return None
    with tenancy.organization(org_id):
        known = CreditNote.objects.filter(pk=note_id)
        known.update(stripe_id=state.id, pushed_at=now, push_error="")
        if not split.elsewhere:
            credit_notes.settle_note(org_id=org_id, note_id=note_id, actor=STRIPE, now=now)
    return state.id


def _found_or_made(note: CreditNote) -> tuple[NoteState, Split]:
    name = note.invoice.stripe_id or ""
    for found in adjustments.credit_notes_of(name):
        if found.metadata.get(adjustments.NOTE) == str(note.pk):
            return found, Split(elsewhere=found.elsewhere)
    split = _split(note, gateway.get_invoice(name))
    made = adjustments.create_credit_note(
        invoice=name,
        our_id=note.pk,
        amount_minor=note.amount_minor,
        split=split,
        memo=f"{note.number}: {note.reason}",
    )
    return made, split


def _split(note: CreditNote, state: InvoiceState) -> Split:
    """Money goes back where it came from: to the card, to the balance, or outside of Stripe.

    What was to be taken off an open invoice that was paid meanwhile is money too.
    """
    if state.status != "paid":
        if note.kind != NoteKind.REDUCTION:
            # It was paid to us, which Stripe is told with the invoice.
            raise Conflict("At Stripe the invoice is not paid yet.", code="credit_note_status")
        return Split()
    if note.kind == NoteKind.CREDIT:
        return Split(credit=note.amount_minor)
    refund = min(note.amount_minor, adjustments.refundable(state.id))
    from_balance = max(0, min(state.total, -state.starting_balance))
    credit = min(note.amount_minor - refund, from_balance)
    return Split(refund, credit, note.amount_minor - refund - credit)


def refresh(*, invoice: str, customer: str, now: datetime) -> int:
    """Our notes of an invoice are as Stripe's notes and refunds are now; how many were not.

    Raises InvalidInput where more was given back there than the invoice came to.
    """
    org_id = organization_of(customer)
    if org_id is None:
        return 0
    with held(f"stripe-notes-{invoice}"):
        # In this order: the note of a refund that is seen is seen too.
        refunds = adjustments.refunds_of(invoice)
        notes = adjustments.credit_notes_of(invoice)
        with tenancy.organization(org_id):
            rows = Invoice.objects.for_org(org_id).issued().select_for_update()
            row = rows.filter(stripe_id=invoice).first()
            if row is None:
                return 0
            return _apply(row, notes, refunds, now)


def _apply(
    invoice: Invoice, notes: list[NoteState], refunds: list[RefundState], now: datetime
) -> int:
    of_notes = {name for state in notes for name in state.refunds}
    known = {
        row.stripe_id: row
        for row in CreditNote.objects.filter(invoice=invoice, stripe_id__isnull=False)
    }
    gone = [state.id for state in refunds if state.failed or state.id in of_notes]
    gone += [state.id for state in notes if state.void]
    changed = sum(_void(known.get(name), now) for name in gone)
    failed = {state.id for state in refunds if state.failed}
    changed += sum(_refund_failed(known.get(state.id)) for state in notes if state.refunds & failed)
    for state in notes:
        ours = state.metadata.get(adjustments.NOTE, "")
        if state.id in known or state.void:
            continue
        if ours.isdigit() and CreditNote.objects.filter(pk=int(ours), invoice=invoice).exists():
            # Told by us just now: who told it writes that down.
            continue
        _copy(invoice, _kind(state), state.total, state.number, state, now)
        changed += 1
    for refund in refunds:
        if refund.id not in known and refund.id not in gone:
            _copy(invoice, NoteKind.REFUND, refund.amount, refund.id, refund, now)
            changed += 1
    return changed


def _kind(state: NoteState) -> NoteKind:
    if state.before_payment:
        return NoteKind.REDUCTION
    return NoteKind.CREDIT if state.to_balance else NoteKind.REFUND


def _void(row: CreditNote | None, now: datetime) -> bool:
    if row is None or row.status == NoteStatus.VOID:
        return False
    credit_notes.void_note(org_id=row.org_id, note_id=row.pk, actor=STRIPE, now=now)
    return True


def _refund_failed(row: CreditNote | None) -> bool:
    """The bank took no refund: staff pay it out. What they did already stays."""
    if row is None or row.status != NoteStatus.SETTLED or row.settled_by != STRIPE.label:
        return False
    row.status, row.settled_at, row.settled_by = NoteStatus.ISSUED, None, ""
    row.push_error = "The refund failed: pay it out another way."
    row.save(update_fields=["status", "settled_at", "settled_by", "push_error"])
    logger.error("stripe.refund_failed", note=row.number)
    return True


def _copy(
    invoice: Invoice,
    kind: NoteKind,
    amount: int,
    number: str,
    state: NoteState | RefundState,
    now: datetime,
) -> None:
    invoice.refresh_from_db()
    credit_notes.copy_note(
        org_id=invoice.org_id,
        invoice=invoice,
        kind=kind,
        amount_minor=amount,
        number=number,
        stripe_id=state.id,
        reason=state.reason[:500] or "Made at Stripe",
        actor=STRIPE,
        created_at=state.created_at,
        now=now,
    )
