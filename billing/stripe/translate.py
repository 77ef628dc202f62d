"""What Stripe's objects say, in our words. The only place that reads their members."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class SubscriptionState:
    """A subscription of Stripe's, now."""

    id: str
    customer: str
    status: str
    price: str
    item: str
    currency: str
    anchor: datetime
    started_at: datetime
    period_start: datetime
    period_end: datetime
    trial_start: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    metadata: dict[str, str]
    # Stripe's tax rates; None: Stripe Tax reckons.
    tax_rates: list[str] | None = None
    # Its own, which pays before the customer's default.
    payment_method: str | None = None


@dataclass(frozen=True)
class PaymentStep:
    """What a first payment waits for: "succeeded", "requires_action" or "requires_payment_method"."""

    status: str
    client_secret: str = ""
    decline_code: str = ""
    message: str = ""


@dataclass(frozen=True)
class LineState:
    """A line of an invoice of Stripe's; minor units."""

    description: str
    amount: int
    start: datetime
    end: datetime
    proration: bool
    quantity: int


@dataclass(frozen=True)
class TaxState:
    """A tax of an invoice of Stripe's; minor units. `rate` is the id of Stripe's tax rate."""

    rate: str | None
    amount: int
    description: str = "Tax"


@dataclass(frozen=True)
class InvoiceState:
    """An invoice of Stripe's, now; minor units."""

    id: str
    customer: str
    status: str
    number: str | None
    subscription: str | None
    currency: str
    total: int
    tax: int
    amount_due: int
    amount_paid: int
    starting_balance: int
    period_start: datetime
    period_end: datetime
    created_at: datetime
    finalized_at: datetime | None
    paid_at: datetime | None
    url: str
    metadata: dict[str, str]
    lines: list[LineState] = field(default_factory=list)
    taxes: list[TaxState] = field(default_factory=list)
    # Why it was made, as "subscription_create".
    reason: str = ""
    amount_remaining: int = 0
    # What credit notes took off before it was paid.
    reduced: int = 0
    attempts: int = 0
    # Of its payment, where that was asked for: what did not pay it last, and whether a bank takes days.
    tried_with: str = ""
    processing: bool = False

    @property
    def failed(self) -> bool:
        """Whether a payment was tried that did not come. A first one is not owed: nothing was given."""
        tried = self.attempts > 0 and not self.processing
        return self.status == "open" and tried and self.reason != "subscription_create"

    @property
    def prepaid(self) -> int:
        """What is paid of it, or was owed before, without being collected."""
        if self.status not in ("open", "paid", "uncollectible") or self.total <= 0:
            return 0
        left = self.amount_due if self.status == "paid" else self.amount_remaining
        return self.total - self.reduced - left


@dataclass(frozen=True)
class NoteState:
    """A credit note of Stripe's, now; minor units. The parts that are not before payment are after."""

    id: str
    invoice: str
    number: str
    void: bool
    total: int
    before_payment: int
    to_balance: bool
    elsewhere: int
    refunds: frozenset[str]
    reason: str
    created_at: datetime
    metadata: dict[str, str]


@dataclass(frozen=True)
class RefundState:
    """A refund, now; minor units."""

    id: str
    amount: int
    failed: bool
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class CardState:
    """A payment method, now; `customer` None: it is detached."""

    id: str
    customer: str | None
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    created_at: datetime


@dataclass(frozen=True)
class CustomerState:
    """A customer, now."""

    id: str
    deleted: bool
    default_payment_method: str | None
    metadata: dict[str, str]


def moment(seconds: int | None) -> datetime | None:
    """A time of Stripe's."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _known(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def id_of(value: Any) -> str | None:
    """The id of what may be expanded."""
    if value is None or isinstance(value, str):
        return value
    return str(value["id"])


def _plain(value: Any) -> dict[str, Any]:
    """An object as a dict, with what was not sent left out."""
    return dict(value.to_dict()) if hasattr(value, "to_dict") else dict(value)


def subscription(found: Any) -> SubscriptionState:
    """The period is its first item's: since 2025 it lies there."""
    data = _plain(found)
    item = data["items"]["data"][0]
    return SubscriptionState(
        id=data["id"],
        customer=id_of(data["customer"]) or "",
        status=data["status"],
        price=id_of(item["price"]) or "",
        item=item["id"],
        currency=data["currency"],
        anchor=_known(data["billing_cycle_anchor"]),
        started_at=_known(data["start_date"]),
        period_start=_known(item["current_period_start"]),
        period_end=_known(item["current_period_end"]),
        trial_start=moment(data.get("trial_start")),
        trial_end=moment(data.get("trial_end")),
        cancel_at_period_end=bool(data["cancel_at_period_end"]),
        canceled_at=moment(data.get("canceled_at")),
        ended_at=moment(data.get("ended_at")),
        metadata=dict(data.get("metadata") or {}),
        tax_rates=None
        if (data.get("automatic_tax") or {}).get("enabled")
        else [id_of(rate) or "" for rate in data.get("default_tax_rates") or []],
        payment_method=id_of(data.get("default_payment_method")),
    )


def payment_step(found: Any) -> PaymentStep:
    """Of a subscription whose latest invoice's payments are expanded to their intents."""
    invoice = _plain(found).get("latest_invoice")
    if not isinstance(invoice, dict) or invoice["status"] != "open":
        return PaymentStep("succeeded")
    intent = _intent(invoice)
    if intent is None:
        return PaymentStep("requires_payment_method")
    error = intent.get("last_payment_error") or {}
    return PaymentStep(
        status=intent["status"],
        client_secret=intent["client_secret"],
        decline_code=error.get("decline_code") or error.get("code") or "",
        message=error.get("message") or "",
    )


def _intent(invoice: dict[str, Any]) -> dict[str, Any] | None:
    """The intent that pays an invoice, where its payments came expanded."""
    payments = (invoice.get("payments") or {}).get("data") or []
    intent = payments[0]["payment"]["payment_intent"] if payments else None
    return intent if isinstance(intent, dict) else None


def invoice(found: Any) -> InvoiceState:
    """With the lines that came with it, of which there are ten at most in an event."""
    data = _plain(found)
    details = (data.get("parent") or {}).get("subscription_details") or {}
    stamps = data.get("status_transitions") or {}
    intent = _intent(data) or {}
    refused = (intent.get("last_payment_error") or {}).get("payment_method")
    return InvoiceState(
        id=data["id"],
        customer=id_of(data["customer"]) or "",
        status=data["status"],
        number=data.get("number"),
        subscription=id_of(details.get("subscription")),
        currency=data["currency"],
        total=data["total"],
        tax=sum(row["amount"] for row in data.get("total_taxes") or []),
        amount_due=data["amount_due"],
        amount_paid=data["amount_paid"],
        starting_balance=data.get("starting_balance") or 0,
        period_start=_known(data["period_start"]),
        period_end=_known(data["period_end"]),
        created_at=_known(data["created"]),
        finalized_at=moment(stamps.get("finalized_at")),
        paid_at=moment(stamps.get("paid_at")),
        url=data.get("hosted_invoice_url") or "",
        metadata=dict(data.get("metadata") or {}),
        lines=[line(row) for row in data["lines"]["data"]],
        taxes=[tax(row) for row in data.get("total_taxes") or []],
        reason=data.get("billing_reason") or "",
        amount_remaining=data["amount_remaining"],
        reduced=data.get("pre_payment_credit_notes_amount") or 0,
        attempts=data.get("attempt_count") or 0,
        tried_with=id_of(refused) or "",
        processing=intent.get("status") == "processing",
    )


def tax(found: Any) -> TaxState:
    """One of an invoice's taxes."""
    row = _plain(found)
    rate = (row.get("tax_rate_details") or {}).get("tax_rate")
    return TaxState(rate=id_of(rate), amount=row["amount"])


def rate_title(found: Any) -> str:
    """A tax rate as invoices print it: "VAT 19%"."""
    data = _plain(found)
    return f"{data['display_name']} {data['percentage']:g}%"


def intent_of_payment(found: Any) -> str | None:
    """The payment intent of a payment of an invoice."""
    return id_of((_plain(found).get("payment") or {}).get("payment_intent"))


def note(found: Any) -> NoteState:
    """A credit note."""
    data = _plain(found)
    return NoteState(
        id=data["id"],
        invoice=id_of(data["invoice"]) or "",
        number=data["number"],
        void=data["status"] == "void",
        total=data["total"],
        before_payment=data.get("pre_payment_amount") or 0,
        to_balance=bool(data.get("customer_balance_transaction")),
        elsewhere=data.get("out_of_band_amount") or 0,
        refunds=frozenset(id_of(row["refund"]) or "" for row in data.get("refunds") or []),
        reason=data.get("memo") or data.get("reason") or "",
        created_at=_known(data["created"]),
        metadata=dict(data.get("metadata") or {}),
    )


def refund(found: Any) -> RefundState:
    """A refund."""
    data = _plain(found)
    return RefundState(
        id=data["id"],
        amount=data["amount"],
        failed=data["status"] in ("failed", "canceled"),
        reason=data.get("reason") or "",
        created_at=_known(data["created"]),
    )


def line(found: Any) -> LineState:
    """A line, of a subscription's item or of an invoice item."""
    row = _plain(found)
    parent = row.get("parent") or {}
    details = parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}
    return LineState(
        description=row.get("description") or "",
        amount=row["amount"],
        start=_known(row["period"]["start"]),
        end=_known(row["period"]["end"]),
        proration=bool(details.get("proration")),
        quantity=row.get("quantity") or 1,
    )


def card(found: Any) -> CardState:
    """A payment method; of one that is no card only its kind is known."""
    data = _plain(found)
    details = data.get("card") or {}
    return CardState(
        id=data["id"],
        customer=id_of(data.get("customer")),
        kind=data["type"],
        brand=details.get("brand") or "",
        last4=details.get("last4") or "",
        exp_month=details.get("exp_month"),
        exp_year=details.get("exp_year"),
        created_at=_known(data["created"]),
    )


def customer(found: Any) -> CustomerState:
    """A customer, or what is left of one."""
    data = _plain(found)
    settings = data.get("invoice_settings") or {}
    return CustomerState(
        id=data["id"],
        deleted=bool(data.get("deleted")),
        default_payment_method=id_of(settings.get("default_payment_method")),
        metadata=dict(data.get("metadata") or {}),
    )
