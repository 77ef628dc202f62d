"""What development and tests ask of the server itself, under /_control: time, faults, cards."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spoke.devservers.stripe import customers, invoices, payments, schedule
from spoke.devservers.stripe.deliveries import Deliveries
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Store, public

KINDS = ("429", "500", "timeout", "disconnect_after")
AFTER_RETRIES = ("past_due", "unpaid", "canceled")


@dataclass
class Fault:
    """What the next `times` requests that match meet with."""

    kind: str
    method: str | None
    path: str
    times: int


class Faults:
    """Faults on demand."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, *, kind: str, method: str | None, pattern: str | None, times: int) -> None:
        if kind not in KINDS:
            raise Refusal(f"No such fault: {kind}. There are {', '.join(KINDS)}.")
        self._waiting.append(Fault(kind, method, pattern or "", times))

    def take(self, method: str, path: str) -> str | None:
        """The fault that this request meets with."""
        for fault in self._waiting:
            if fault.method in (None, method) and re.search(fault.path, path):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault.kind
        return None

    def clear(self) -> None:
        self._waiting.clear()


Work = Callable[["Controlled", dict[str, Any]], dict[str, Any] | None]


@dataclass
class Controlled:
    """What the controls reach."""

    store: Store
    faults: Faults
    deliveries: Deliveries


def control(over: Controlled, name: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Does what is asked of the server itself. Raises Refusal."""
    work = CONTROLS.get(name)
    if work is None:
        raise Refusal(f"No such control: {name}", status=404)
    return work(over, sent) or {}


def _clock(over: Controlled, sent: dict[str, Any]) -> dict[str, Any]:
    return {"now": over.store.now()}


def _advance(over: Controlled, sent: dict[str, Any]) -> dict[str, Any]:
    to = sent.get("to") or over.store.now() + int(sent["seconds"])
    return {"done": schedule.advance(over.store, int(to)), "now": over.store.now()}


def _fault(over: Controlled, sent: dict[str, Any]) -> None:
    over.faults.add(**sent)


def _clear(over: Controlled, sent: dict[str, Any]) -> None:
    over.faults.clear()


def _webhooks(over: Controlled, sent: dict[str, Any]) -> None:
    for name in ("drop", "duplicate", "reorder", "delay", "paused"):
        if name in sent:
            setattr(over.deliveries, name, sent[name])


def _card(over: Controlled, sent: dict[str, Any]) -> None:
    over.store.get("customer", sent["customer"])["_broken"] = sent["broken"]


def _dispute(over: Controlled, sent: dict[str, Any]) -> None:
    payments.dispute(over.store, sent["charge"])


def _refund(over: Controlled, sent: dict[str, Any]) -> None:
    payments.fail_refund(over.store, sent["refund"])


def _bank(over: Controlled, sent: dict[str, Any]) -> None:
    complete_3ds(over.store, sent["id"], ok=sent["ok"])


def _dunning(over: Controlled, sent: dict[str, Any]) -> None:
    if sent["after_retries"] not in AFTER_RETRIES:
        raise Refusal(f"Choose among {', '.join(AFTER_RETRIES)}.")
    over.store.after_retries = sent["after_retries"]


def _reset(over: Controlled, sent: dict[str, Any]) -> None:
    over.store.reset()
    over.faults.clear()


def _state(over: Controlled, sent: dict[str, Any]) -> dict[str, Any]:
    return {kind: list(public(rows).values()) for kind, rows in over.store.objects.items()}


CONTROLS: dict[str, Work] = {
    "clock": _clock,
    "advance": _advance,
    "fault": _fault,
    "clear": _clear,
    "webhooks": _webhooks,
    "card": _card,
    "dispute": _dispute,
    "refund": _refund,
    "dunning": _dunning,
    "3ds": _bank,
    "reset": _reset,
    "state": _state,
}


def complete_3ds(store: Store, name: str, *, ok: bool) -> None:
    """The customer's bank answers; a paid intent pays its invoice."""
    if name in store.of("setup_intent"):
        customers.complete_setup(store, store.get("setup_intent", name), ok=ok)
        return
    intent = store.get("payment_intent", name)
    after_payment(store, intent["id"], payments.complete_payment(store, intent, ok=ok))


def after_payment(store: Store, name: str, status: str) -> None:
    """Tells the invoice of an intent that it is paid."""
    invoice = store.of("invoice").get(store.get("payment_intent", name)["_invoice"] or "")
    if status == "succeeded" and invoice and invoice["status"] == "open":
        invoices.mark_paid(store, invoice, invoice["amount_due"])
