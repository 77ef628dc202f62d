"""Credits: given by staff or by a credit note, used by the invoices that come."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q

from billing.credit_order import Available
from billing.models import Credit, CreditApplication, CreditNote, Invoice
from orgs.context import Actor
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from spoke.core.errors import Conflict, InvalidInput
from spoke.core.money import exponent_of

# A bigint holds the sum of as many as anybody gives.
MOST = 10**15


@dataclass(frozen=True)
class Usable(Available):
    """A credit that an invoice may use; `paid`: it is money that was paid, tax included."""

    reason: str = ""
    paid: bool = False


def usable_credits(*, org_id: int, currency: str, at: datetime) -> list[Usable]:
    """What has something left and has not expired before a moment."""
    lasting = Q(expires_at__isnull=True) | Q(expires_at__gte=at)
    rows = Credit.objects.filter(lasting, org_id=org_id, currency=currency, remaining_minor__gt=0)
    return [
        Usable(
            id=row.pk,
            remaining=row.remaining_minor,
            priority=row.priority,
            expires_at=row.expires_at,
            created_at=row.created_at,
            reason=row.reason,
            paid=row.note_id is not None,
        )
        for row in rows
    ]


def grant_credit(
    *,
    org_id: int,
    amount_minor: int,
    currency: str,
    reason: str,
    actor: Actor,
    now: datetime,
    priority: int = 100,
    expires_at: datetime | None = None,
    note: CreditNote | None = None,
) -> Credit:
    """The organization has the amount to its credit, whole until an invoice uses it. Audited.

    Must run in a transaction. Raises InvalidInput.
    """
    if not 0 < amount_minor <= MOST:
        raise InvalidInput(f"An amount is from 1 to {MOST}.", field="amount_cents")
    try:
        exponent_of(currency)
    except ValueError as error:
        raise InvalidInput("This is no currency of ISO 4217.", field="currency") from error
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("It would have expired already.", field="expires_at")
    lock_organization(org_id)
    credit = Credit.objects.create(
        org_id=org_id,
        currency=currency,
        amount_minor=amount_minor,
        remaining_minor=amount_minor,
        reason=reason,
        granted_by=actor.label,
        priority=priority,
        expires_at=expires_at,
        created_at=now,
        note=note,
    )
    record_event(
        org_id=org_id,
        actor=actor,
        action="credit.granted",
        now=now,
        target=("credit", credit.pk),
        data={"amount_cents": amount_minor, "currency": currency, "reason": reason},
    )
    return credit


def use_credits(*, invoice: Invoice, used: Iterable[tuple[int, int]], now: datetime) -> None:
    """Each (credit, minor units) has gone into the invoice, once.

    Must run in a transaction that holds the organization. Raises Conflict where a credit has less.
    """
    # In the order in which a voided invoice gives them back: neither waits for the other.
    for credit_id, amount in sorted(used):
        left = Credit.objects.filter(pk=credit_id, remaining_minor__gte=amount)
        if not left.update(remaining_minor=F("remaining_minor") - amount):
            raise Conflict("A credit has less left than it is to pay.", code="credit_used")
        CreditApplication.objects.create(
            org_id=invoice.org_id,
            credit_id=credit_id,
            invoice=invoice,
            amount_minor=amount,
            applied_at=now,
        )


def return_credits(*, invoice: Invoice, now: datetime) -> int:
    """What the invoice used of credits is there again, once; returns how much. A transaction."""
    rows = CreditApplication.objects.filter(invoice=invoice, returned_at__isnull=True)
    returned = 0
    for row in rows.select_for_update().order_by("credit_id"):
        Credit.objects.filter(pk=row.credit_id).update(
            remaining_minor=F("remaining_minor") + row.amount_minor
        )
        returned += row.amount_minor
        row.returned_at = now
        row.save(update_fields=["returned_at"])
    return returned
