"""What happens as time passes: trials end, periods turn, drafts are finalized, payments retried."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spoke.devservers.stripe import invoices, subscriptions
from spoke.devservers.stripe.store import Object, Store

DAY = 86_400
INCOMPLETE_FOR = 23 * 3_600
WARNING = 3 * DAY


@dataclass(frozen=True, order=True)
class Due:
    """Something that happens at a time, in seconds."""

    at: int
    order: int
    name: str


Work = Callable[[Store], None]


def advance(store: Store, to: int) -> int:
    """Turns the clock to a time and does all that is due until then, in its order; says how much."""
    done = 0
    while True:
        due = min(
            (entry for entry in _due(store) if entry[0].at <= to),
            key=lambda entry: entry[0],
            default=None,
        )
        if due is None:
            break
        store.turn_to(due[0].at)
        due[1](store)
        done += 1
    store.turn_to(to)
    return done


def _due(store: Store) -> Iterator[tuple[Due, Work]]:
    for invoice in store.of("invoice").values():
        yield from _of_invoice(invoice)
    for sub in store.of("subscription").values():
        yield from _of_subscription(sub)


def _of_invoice(invoice: Object) -> Iterator[tuple[Due, Work]]:
    at = invoice["automatically_finalizes_at"]
    if invoice["status"] == "draft" and invoice["auto_advance"] and at:
        yield Due(at, 1, invoice["id"]), lambda store: _finalize(store, invoice)
    again = invoice["next_payment_attempt"]
    if invoice["status"] == "open" and again:
        yield Due(again, 2, invoice["id"]), lambda store: _retry(store, invoice)


def _finalize(store: Store, invoice: Object) -> None:
    invoices.finalize(store, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        invoices.collect(store, invoice, off_session=True)
        _give_up(store, invoice)


def _retry(store: Store, invoice: Object) -> None:
    invoice["next_payment_attempt"] = None
    invoices.collect(store, invoice, off_session=True)
    _give_up(store, invoice)


def _give_up(store: Store, invoice: Object) -> None:
    """After the last retry the subscription is what the account is set to make of it."""
    sub = store.of("subscription").get(invoice["_sub"] or "")
    late = sub and sub["status"] == "past_due" and sub["latest_invoice"] == invoice["id"]
    if not sub or not late or invoice["status"] != "open" or invoice["next_payment_attempt"]:
        return
    if store.after_retries == "canceled":
        subscriptions.end(store, sub, reason="payment_failed")
    elif store.after_retries == "unpaid":
        with store.changing(sub, "customer.subscription.updated"):
            sub["status"] = "unpaid"


def _of_subscription(sub: Object) -> Iterator[tuple[Due, Work]]:
    status, name = sub["status"], sub["id"]
    end = subscriptions.period_of(sub)[1]
    if status == "trialing" and not sub["_warned"]:
        at = max(sub["trial_start"], end - WARNING)
        yield Due(at, 0, name), lambda store: _warn(store, sub)
    if status == "incomplete":
        at = sub["created"] + INCOMPLETE_FOR
        yield Due(at, 0, name), lambda store: _expire(store, sub)
    if status in ("trialing", "active", "past_due", "unpaid"):
        yield Due(end, 0, name), lambda store: _turn(store, sub)


def _warn(store: Store, sub: Object) -> None:
    sub["_warned"] = True
    store.emit("customer.subscription.trial_will_end", sub)


def _expire(store: Store, sub: Object) -> None:
    latest = store.get("invoice", sub["latest_invoice"])
    if latest["status"] == "open":
        invoices.close(store, latest, "void", "voided_at", "invoice.voided")
    subscriptions.end(store, sub, reason="payment_failed", status="incomplete_expired")


def _turn(store: Store, sub: Object) -> None:
    if sub["cancel_at_period_end"]:
        subscriptions.end(store, sub, reason="cancellation_requested")
    elif sub["status"] == "trialing" and not _can_pay(store, sub):
        _end_trial(store, sub)
    else:
        subscriptions.renew(store, sub)


def _can_pay(store: Store, sub: Object) -> bool:
    customer = store.get("customer", sub["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    return bool(sub["default_payment_method"] or default)


def _end_trial(store: Store, sub: Object) -> None:
    """A trial without a payment method ends as it was asked to when it was made."""
    chosen = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
    if chosen == "cancel":
        subscriptions.end(store, sub, reason="payment_failed")
    elif chosen == "pause":
        with store.changing(sub, "customer.subscription.updated"):
            sub["status"] = "paused"
        store.emit("customer.subscription.paused", sub)
    else:
        subscriptions.renew(store, sub)
