"""Everything the server knows: objects by kind, events, and the time."""

import copy
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spoke.devservers.stripe.errors import missing

Object = dict[str, Any]
PREFIXES = {
    "acct": "account",
    "prod": "product",
    "price": "price",
    "cus": "customer",
    "pm": "payment_method",
    "seti": "setup_intent",
    "pi": "payment_intent",
    "ch": "charge",
    "re": "refund",
    "dp": "dispute",
    "sub": "subscription",
    "si": "subscription_item",
    "in": "invoice",
    "ii": "invoiceitem",
    "il": "line_item",
    "inpay": "invoice_payment",
    "coupon": "coupon",
    "di": "discount",
    "cn": "credit_note",
    "txr": "tax_rate",
    "txi": "tax_id",
    "cs": "checkout.session",
    "bps": "billing_portal.session",
    "evt": "event",
    "we": "webhook_endpoint",
}
BY_KIND = {kind: prefix for prefix, kind in PREFIXES.items()}
# Members that all kinds have but these.
WITHOUT = {
    "account": ("livemode",),
    "discount": ("created", "livemode"),
    "invoiceitem": ("created",),
    "refund": ("livemode",),
}
API_VERSION = "2026-05-27.dahlia"


class Store:
    """Objects are dicts; members whose names begin with _ are ours, and never leave.

    Whoever reads or writes holds `lock`. Seconds everywhere.
    """

    def __init__(self, *, start: datetime | None = None, file: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.file = file
        self.objects: dict[str, dict[str, Object]] = {}
        self.idempotency: dict[str, dict[str, Any]] = {}
        # The clock stands at `start` until it is turned, or runs with the real one.
        self.standing: float | None = start.timestamp() if start else None
        self.offset = 0.0
        self.sequence = 0
        # What becomes of a subscription whose last retry failed: it is left, unpaid, or canceled.
        self.after_retries = "past_due"
        # Where its pages are.
        self.base_url = ""
        if file is not None and file.exists():
            self._load(file)

    def now(self) -> int:
        """The server's time, in seconds since 1970."""
        return int((self.standing if self.standing is not None else time.time()) + self.offset)

    def moment(self) -> datetime:
        """The server's time."""
        return datetime.fromtimestamp(self.now(), UTC)

    def turn_to(self, seconds: int) -> None:
        """Sets the clock forward."""
        self.offset += max(0, seconds - self.now())

    def new_id(self, kind: str) -> str:
        """An id of Stripe's form."""
        middle = "test_" if kind == "checkout.session" else ""
        return f"{BY_KIND[kind]}_{middle}{secrets.token_hex(12)}"

    def add(self, kind: str, members: Object) -> Object:
        """Keeps a new object."""
        self.sequence += 1
        made: Object = {
            "id": members.get("id") or self.new_id(kind),
            "object": kind,
            "created": self.now(),
            "livemode": False,
            **members,
            "_n": self.sequence,
        }
        for name in WITHOUT.get(kind, ()):
            del made[name]
        self.of(kind)[made["id"]] = made
        return made

    def of(self, kind: str) -> dict[str, Object]:
        """All objects of a kind, by id."""
        return self.objects.setdefault(kind, {})

    def get(self, kind: str, name: Any, *, param: str = "id") -> Object:
        """The object of an id. Refuses one that is not there."""
        found = self.of(kind).get(str(name))
        if found is None:
            raise missing(kind.replace("_", ""), str(name), param=param, status=404)
        return found

    def alive(self, name: Any, param: str = "customer") -> Object:
        """A customer that is not deleted."""
        found = self.of("customer").get(str(name))
        if found is None or found.get("deleted"):
            raise missing("customer", str(name), param=param)
        return found

    def newest(self, kind: str) -> list[Object]:
        """All objects of a kind, newest first."""
        return sorted(self.of(kind).values(), key=lambda row: -row["_n"])

    def emit(self, kind: str, about: Object, previous: Object | None = None) -> Object:
        """An event with a snapshot of the object."""
        data: Object = {"object": public(about)}
        if previous is not None:
            data["previous_attributes"] = previous
        return self.add(
            "event",
            {
                "api_version": API_VERSION,
                "data": data,
                "pending_webhooks": 0,
                "request": {"id": f"req_{secrets.token_hex(7)}", "idempotency_key": None},
                "type": kind,
                "_sent": False,
            },
        )

    @contextmanager
    def changing(self, about: Object, event: str) -> Iterator[None]:
        """Emits the event, with what was there before, if the object is changed within."""
        before = public(about)
        yield
        after = public(about)
        previous = {
            key: before.get(key) for key in {*before, *after} if before.get(key) != after.get(key)
        }
        if previous:
            self.emit(event, about, previous)

    @contextmanager
    def attempt(self, customer: str, *, undo: bool = False) -> Iterator[None]:
        """What was done within to a customer's objects is undone if it is refused, or always."""
        known = {kind: set(rows) for kind, rows in self.objects.items()}
        kept = [
            (row, copy.deepcopy(row))
            for kind, rows in self.objects.items()
            if kind != "event"
            for row in rows.values()
            if kind == "coupon" or customer in (row["id"], row.get("customer"))
        ]
        done = False
        try:
            yield
            done = not undo
        finally:
            if not done:
                for kind, rows in self.objects.items():
                    for name in set(rows) - known.get(kind, set()):
                        del rows[name]
                for row, before in kept:
                    row.clear()
                    row.update(before)

    def save(self) -> None:
        """Writes everything to the file, if there is one; a crash leaves the file before."""
        if self.file is None:
            return
        state = {
            "objects": self.objects,
            "idempotency": self.idempotency,
            "standing": self.standing,
            "offset": self.offset,
            "sequence": self.sequence,
            "after_retries": self.after_retries,
        }
        partial = self.file.with_suffix(".new")
        partial.write_text(json.dumps(state))
        partial.replace(self.file)

    def _load(self, file: Path) -> None:
        state = json.loads(file.read_text())
        self.objects, self.idempotency = state["objects"], state["idempotency"]
        self.offset, self.sequence = state["offset"], state["sequence"]
        self.after_retries = state.get("after_retries", "past_due")
        if self.standing is None:
            self.standing = state["standing"]

    def reset(self) -> None:
        """Forgets all but the account and the webhook endpoints."""
        kept = {kind: self.of(kind) for kind in ("account", "webhook_endpoint")}
        self.objects, self.idempotency = kept, {}


def json_number(number: str) -> Any:
    """A percentage as JSON has it, `19` or `8.875`: to be shown; what is computed is the text."""
    return json.loads(number)


def public(value: Any) -> Any:
    """A copy without what is ours."""
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items() if not key.startswith("_")}
    if isinstance(value, list):
        return [public(item) for item in value]
    return copy.copy(value)


def listing(rows: list[Any], url: str, *, more: bool = False) -> Object:
    """A list as Stripe answers it."""
    return {"object": "list", "data": rows, "has_more": more, "url": url}
