"""Open invoices that another payment method may pay: tried once with each new default.

Stripe tries the card again on its own schedule; whoever puts another one in its place need not wait
for that. Nothing here runs inside a transaction.
"""

from datetime import datetime

from django.db.models import F, OuterRef, QuerySet, Subquery

from billing.models import Invoice, InvoiceStatus, PaymentMethod
from billing.services.stripe_credit_notes import push_lock
from billing.services.stripe_invoices import apply_invoice
from billing.stripe import gateway
from billing.stripe.client import PaymentDeclined
from billing.stripe.translate import InvoiceState
from spoke.core import tenancy
from spoke.core.errors import Conflict
from spoke.core.locks import held


def _untried() -> QuerySet[Invoice]:
    """Invoices that a card did not pay, and that the default of now was not tried for."""
    defaults = PaymentMethod.objects.filter(org_id=OuterRef("org_id"), is_default=True)
    rows = Invoice.objects.filter(
        status=InvoiceStatus.OPEN, failed_at__isnull=False, stripe_id__isnull=False
    )
    wanted = rows.annotate(method=Subquery(defaults.values("stripe_id")[:1]))
    return wanted.filter(method__isnull=False).exclude(tried_with=F("method"))


def due_for_retry(*, org_id: int | None = None) -> list[tuple[int, int]]:
    """(organization, invoice) of those to try, oldest first; None: of all organizations."""
    with tenancy.all_organizations(reason="find invoices to try again"):
        rows = _untried() if org_id is None else _untried().filter(org_id=org_id)
        return list(rows.order_by("failed_at", "pk").values_list("org_id", "pk"))


def retry_invoice(*, org_id: int, invoice_id: int, now: datetime) -> bool:
    """The default was tried for the invoice, once; says whether it is paid. May be run again."""
    with held(push_lock(invoice_id)):
        with tenancy.organization(org_id):
            row = _untried().filter(org_id=org_id, pk=invoice_id).first()
            defaults = PaymentMethod.objects.filter(org_id=org_id, is_default=True)
            method = defaults.values_list("stripe_id", flat=True).first()
        if row is None or method is None:
            return False
        state = gateway.get_invoice(row.stripe_id or "")
        # Whoever died before writing it down tried it all the same.
        if state.status == "open" and state.tried_with != method:
            state = _tried(state, method)
        with tenancy.organization(org_id):
            apply_invoice(org_id=org_id, state=state, now=now)
            Invoice.objects.filter(org_id=org_id, pk=invoice_id).update(tried_with=method)
        return state.status == "paid"


def _tried(state: InvoiceState, method: str) -> InvoiceState:
    try:
        return gateway.pay_invoice_by(state, method)
    except PaymentDeclined:
        return gateway.get_invoice(state.id)
    except Conflict as error:
        if error.code == "stripe_conflict":
            # The same try is under way.
            raise
        return gateway.get_invoice(state.id)
