"""Turns the clock of a fake Stripe server, breaks cards and spoils webhooks, over HTTP."""

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

TIMEOUT = 600.0


class Control:
    """Of the server at `url`. Only of ours: Stripe has none of this."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _ask(self, path: str, **sent: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_control/{path}",
            json.dumps(sent).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def clock(self) -> datetime:
        """The server's time."""
        return datetime.fromtimestamp(self._ask("clock")["now"], UTC)

    def advance(self, *, days: int = 0, hours: int = 0, seconds: int = 0) -> int:
        """Turns the clock on and does what is due by then; says how many things that were."""
        whole = days * 86_400 + hours * 3_600 + seconds
        return int(self._ask("advance", seconds=whole)["done"])

    def advance_to(self, moment: datetime) -> int:
        """Turns the clock to a time, as `advance` does."""
        return int(self._ask("advance", to=int(moment.timestamp()))["done"])

    def fail_card(self, customer: str) -> None:
        """Whatever is charged to this customer from now on is declined."""
        self._ask("card", customer=customer, broken=True)

    def fix_card(self, customer: str) -> None:
        """The customer can pay again."""
        self._ask("card", customer=customer, broken=False)

    def fault(
        self, kind: str, *, method: str | None = None, path: str | None = None, times: int = 1
    ) -> None:
        """The next requests that match meet with a fault: 429, 500, timeout, disconnect_after."""
        self._ask("fault", kind=kind, method=method, pattern=path, times=times)

    def clear_faults(self) -> None:
        """No more faults."""
        self._ask("clear")

    def drop_webhooks(self, number: int) -> None:
        """The next events are not delivered."""
        self._ask("webhooks", drop=number)

    def duplicate_webhooks(self, number: int) -> None:
        """The next events are delivered twice."""
        self._ask("webhooks", duplicate=number)

    def reorder_webhooks(self, number: int) -> None:
        """The next events are delivered in any order."""
        self._ask("webhooks", reorder=number)

    def delay_webhooks(self, seconds: float) -> None:
        """Events wait before they are delivered."""
        self._ask("webhooks", delay=seconds)

    def pause_webhooks(self, paused: bool = True) -> None:
        """Events wait until `deliver`, or until this is taken back."""
        self._ask("webhooks", paused=paused)

    def deliver(self) -> int:
        """Delivers what waits, now; says how many deliveries were tried."""
        return int(self._ask("deliver")["tried"])

    def dispute(self, charge: str) -> None:
        """The customer's bank takes a charge back."""
        self._ask("dispute", charge=charge)

    def fail_refund(self, refund: str) -> None:
        """The customer's bank does not take a refund."""
        self._ask("refund", refund=refund)

    def after_retries(self, status: str) -> None:
        """What a subscription becomes when its last retry failed: past_due, unpaid, canceled."""
        self._ask("dunning", after_retries=status)

    def complete_3ds(self, intent: str, *, ok: bool = True) -> None:
        """The customer's bank answers a payment or setup that waits for 3-D Secure."""
        self._ask("3ds", id=intent, ok=ok)

    def reset(self) -> None:
        """Forgets everything but the webhook endpoints."""
        self._ask("reset")

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """All objects by kind."""
        return dict(self._ask("state"))
