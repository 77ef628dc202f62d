"""Clients that remember what became of every request, and resend events until they are acknowledged."""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

METERS = ("compile_jobs", "compile_seconds", "artifact_downloads", "active_developers")
# Answered: with 200. Lost: sent, and the connection ended without a whole answer. Other: answered with
# another status. A request that nobody took (connection refused) is no request.
ANSWERED, LOST, OTHER = "answered", "lost", "other"
TIMEOUT = 20.0


@dataclass(frozen=True)
class Attempt:
    """One request, as its client saw it."""

    org_id: int
    began: float
    ended: float
    outcome: str
    status: int = 0


@dataclass
class Notes:
    """What the clients wrote down since the round began, and all events they ever sent."""

    attempts: list[Attempt] = field(default_factory=list)
    # By (organization, meter): events and the sum of their quantities, each key once.
    events: dict[tuple[int, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    batches: int = 0
    # Sent again because nobody acknowledged them; how many of those turned out to be stored already.
    resent: int = 0
    found_stored: int = 0
    surprises: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """One connection that is always busy with one request, unless the load is paused."""

    def __init__(self, load: "Load", number: int) -> None:
        super().__init__(daemon=True)
        self.load, self.notes = load, load.notes
        self.random = random.Random(f"{load.seed}-{number}")
        self.connection: http.client.HTTPConnection | None = None
        self.idle = threading.Event()

    def run(self) -> None:
        while not self.load.ended.is_set():
            self.idle.set()
            if not self.load.running.wait(0.1):
                continue
            self.idle.clear()
            # Looked at again after `idle` is taken back, so that a pause that began meanwhile holds.
            if self.load.running.is_set():
                self.work()
        self.idle.set()

    def work(self) -> None:
        raise NotImplementedError

    def ask(self, org_id: int, method: str, path: str, body: bytes | None = None) -> Any:
        """The answer's JSON; None where there was no answer with 200."""
        connection = self._connected()
        if connection is None:
            return None
        began, outcome, status, answer = time.monotonic(), LOST, 0, None
        try:
            headers = {"Authorization": f"Bearer {self.load.token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            status = response.status
            outcome = ANSWERED if status == 200 else OTHER
            answer = json.loads(content) if status == 200 else None
            if outcome == OTHER:
                self.notes.surprises.append(f"{method} {path}: {status} {content[:200]!r}")
        except (OSError, http.client.HTTPException):
            self._drop()
        self.notes.attempts.append(Attempt(org_id, began, time.monotonic(), outcome, status))
        return answer

    def _connected(self) -> http.client.HTTPConnection | None:
        if self.connection is None or self.connection.sock is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.load.port, timeout=TIMEOUT)
            try:
                connection.connect()
            except OSError:
                time.sleep(0.02)
                return None
            assert isinstance(connection.sock, socket.socket)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        return self.connection

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Reader(Client):
    """Reads organizations."""

    def work(self) -> None:
        org_id = self.random.choice(self.load.org_ids)
        self.ask(org_id, "GET", f"/orgs/{org_id}")
        if self.random.random() < 0.1:  # another connection may be another process's
            self._drop()


class Sender(Client):
    """Sends batches of events, each until it is acknowledged, and some once more."""

    def work(self) -> None:
        org_id = self.random.choice(self.load.org_ids)
        # Some take the way of large batches.
        size = 450 if self.random.random() < 0.08 else self.random.randint(1, 40)
        events = [self._event(org_id) for _ in range(size)]
        body = json.dumps({"events": events}).encode()
        tries = 0
        while True:
            answer = self.ask(org_id, "POST", f"/orgs/{org_id}/usage/events", body)
            tries += 1
            if answer is not None:
                break
            if self.load.ended.is_set():
                return
            time.sleep(0.02)
        self._acknowledged(answer, size, first=tries == 1)
        if self.random.random() < 0.05:  # the acknowledgement was lost on its way, say
            again = self.ask(org_id, "POST", f"/orgs/{org_id}/usage/events", body)
            if again is not None and again["duplicates"] != size:
                self.notes.surprises.append(f"sent again after its 200: {again}")
        self._drop()

    def _event(self, org_id: int) -> dict[str, Any]:
        meter, quantity = self.random.choice(METERS), self.random.randint(0, 9)
        with self.load.lock:
            self.load.keys += 1
            key = self.load.keys
            self.notes.events[org_id, meter].update(events=1, quantity=quantity)
        return {
            "idempotency_key": f"key-{key}",
            "meter": meter,
            "quantity": quantity,
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": {"user": f"user-{key % 7}"},
        }

    def _acknowledged(self, answer: dict[str, Any], size: int, *, first: bool) -> None:
        with self.load.lock:
            self.notes.batches += 1
            if not first:
                self.notes.resent += 1
                self.notes.found_stored += answer["duplicates"] == size
        stored_now = answer["accepted"] == size
        stored_before = not first and answer["duplicates"] == size
        if not stored_now and not stored_before:
            self.notes.surprises.append(f"a batch of {size} was not stored as a whole: {answer}")


class Load:
    """Readers and senders, started paused."""

    def __init__(
        self, *, port: int, token: str, org_ids: list[int], readers: int, senders: int, seed: str
    ) -> None:
        self.port, self.token, self.org_ids, self.seed = port, token, org_ids, seed
        self.notes, self.lock, self.keys = Notes(), threading.Lock(), 0
        self.running, self.ended = threading.Event(), threading.Event()
        self.clients: list[Client] = [Reader(self, number) for number in range(readers)]
        self.clients += [Sender(self, number + 1000) for number in range(senders)]
        for client in self.clients:
            client.start()

    def resume(self) -> None:
        self.running.set()

    def pause(self) -> None:
        """No client begins anything new; `is_idle` says when all have finished."""
        self.running.clear()

    def is_idle(self) -> bool:
        """Every batch is acknowledged, and nothing is in flight."""
        return all(client.idle.is_set() for client in self.clients)

    def end(self) -> None:
        self.ended.set()
        self.running.clear()
        for client in self.clients:
            client.join(timeout=TIMEOUT)
