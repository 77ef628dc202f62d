"""Webhooks: signed, delivered in order by a thread of its own, retried; and spoilt on demand."""

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from spoke.devservers.stripe.store import Object, Store, public

TIMEOUT = 10.0
# Real seconds until a delivery that failed is tried again; after the last one nobody tries.
BACKOFF = (1.0, 5.0, 30.0, 120.0)
KEPT = 200


def signature(payload: bytes, secret: str, at: int) -> str:
    """The Stripe-Signature of a payload: https://docs.stripe.com/webhooks#verify-manually."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Deliveries:
    """Sends events to the endpoints. `drop`, `duplicate` and `reorder` spoil the next ones."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.drop = self.duplicate = self.reorder = 0
        self.delay = 0.0
        self.paused = False
        self.log: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._wake = threading.Event()
        self._sending = threading.Lock()
        self._retries: list[tuple[float, int, Object, Object]] = []
        self._random = random.Random(0)
        threading.Thread(target=self._run, daemon=True, name="stripe-webhooks").start()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def deliver(self) -> int:
        """Sends everything that waits, what failed before too; says at its end how many were tried."""
        with self._sending:
            waiting, self._retries = self._retries, []
            for _, tries, event, endpoint in waiting:
                self._send(event, endpoint, tries)
            return len(waiting) + self._send_waiting()

    def _run(self) -> None:
        while True:
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            if self.paused:
                continue
            if self.delay:
                time.sleep(self.delay)
            with self._sending:
                self._send_waiting()
                self._send_again()

    def _waiting(self) -> list[Object]:
        with self.store.lock:
            rows = [row for row in self.store.of("event").values() if not row["_sent"]]
            for row in rows:
                row["_sent"] = True
        return self._spoilt(sorted(rows, key=lambda row: row["_n"]))

    def _spoilt(self, rows: list[Object]) -> list[Object]:
        dropped = min(self.drop, len(rows))
        self.drop -= dropped
        rows = rows[dropped:]
        doubled = min(self.duplicate, len(rows))
        self.duplicate -= doubled
        rows = rows + rows[:doubled]
        if self.reorder and rows:
            self.reorder = max(0, self.reorder - len(rows))
            self._random.shuffle(rows)
        return rows

    def _send_waiting(self) -> int:
        tried = 0
        rows = self._waiting()
        while rows:
            for row in rows:
                for endpoint in self._endpoints(row["type"]):
                    tried += 1
                    self._send(row, endpoint, 0)
            rows = self._waiting()
        return tried

    def _endpoints(self, kind: str) -> list[Object]:
        with self.store.lock:
            return [
                row
                for row in self.store.of("webhook_endpoint").values()
                if row["status"] == "enabled"
                and ("*" in row["enabled_events"] or kind in row["enabled_events"])
            ]

    def _send(self, event: Object, endpoint: Object, tries: int) -> None:
        payload = json.dumps(public(event)).encode()
        header = signature(payload, endpoint["_secret"], int(time.time()))
        status = post(endpoint["url"], payload, header)
        self.log.appendleft({"id": event["id"], "type": event["type"], "status": status})
        if 200 <= status < 300:
            event["_delivered"] = True
        elif tries < len(BACKOFF):
            self._retries.append((time.monotonic() + BACKOFF[tries], tries + 1, event, endpoint))

    def _send_again(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self._retries if entry[0] <= now]
        self._retries = [entry for entry in self._retries if entry[0] > now]
        for _, tries, event, endpoint in due:
            self._send(event, endpoint, tries)


def post(url: str, payload: bytes, header: str) -> int:
    """The status of the answer; 0: none."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=TIMEOUT)
    try:
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": header}
        connection.request("POST", address.path or "/", payload, headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
