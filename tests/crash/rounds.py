"""One round: load, kill -9 at a random moment, restart, and comparison to the unit.

What is guaranteed, and asserted of each organization after each round:

- counted in PostgreSQL >= requests answered with 200, and <= those + requests in doubt;
- in doubt is a request whose connection broke before its answer was whole (it may have been counted
  before its process died), one answered with another status, and, where Valkey was killed, one that was
  under way at that moment and was answered all the same: the web process does not know whether its
  count was taken and counts it itself;
- where Valkey was killed, less what it forgot: with `appendfsync everysec` it may answer up to two
  seconds before it writes, while an fsync is under way. No more may be missing than it had taken and
  then no longer knew, which is read from the limiter's state once it is back;
- events in PostgreSQL, in hours and in days: exactly the distinct events acknowledged, in number and
  sum; jobs among them count in the period exactly once.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from celery import Celery

from spoke.devservers.errors import wait_until
from tests.crash.books import Books, Waiting
from tests.crash.load import ANSWERED, Attempt, Load
from tests.crash.machine import Machine, Process

NOTHING = Waiting(0, 0, 0)
# A web process tries each second whether Valkey is back, and hands over what it counted meanwhile.
HAND_OVER_SECONDS, SETTLE_SECONDS = 2.5, 10.0
BLOCKING_THREADS = 4
FLUSH, ROLL_UP = "quotas.tasks.flush_api_requests", "quotas.tasks.roll_up_events"


class Tasks:
    """Plays beat: keeps the workers flushing and rolling up without a pause."""

    def __init__(self, machine: Machine, books: Books) -> None:
        path = machine.redis_url.removeprefix("unix://")
        self.app = Celery(broker=f"redis+socket://{path}?virtual_host=0", set_as_current=False)
        self.app.conf.task_ignore_result = True
        self.app.conf.broker_transport_options = {"socket_timeout": 5}
        self.redis = books.redis
        self.sent = 0

    def keep_busy(self) -> None:
        """Puts a flush, and now and then a rollup, into the queue when it is empty."""
        try:
            if self.redis.llen("metering") == 0:
                self.sent += 1
                self._send(ROLL_UP if self.sent % 4 == 0 else FLUSH)
        except Exception:  # noqa: BLE001 - the broker is what is being killed
            time.sleep(0.02)

    def _send(self, name: str) -> None:
        self.app.send_task(name, queue="metering", retry=False, ignore_result=True)


@dataclass
class Outcome:
    """What a round did, and what was wrong afterwards."""

    kind: str
    answered: int = 0
    in_doubt: int = 0
    counted: int = 0
    # Answered, and forgotten by a Valkey that was killed before it wrote: at most, and as it turned out.
    may_be_forgotten: Counter[int] = field(default_factory=Counter)
    forgotten: int = 0
    events: int = 0
    resent: int = 0
    found_stored: int = 0
    # At the moment after the kill: was a flush interrupted between setting aside and clearing?
    interrupted: Waiting = NOTHING
    unplanned_outages: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        parts = [
            f"{self.kind:<14} {self.seconds:5.1f} s  answered {self.answered:5}",
            f"counted {self.counted:5}  in doubt {self.in_doubt:2}  events {self.events:5}",
            f"batches resent {self.resent:2} ({self.found_stored} were stored)",
            f"generations set aside {self.interrupted.claimed:2} ({self.interrupted.written} written)",
        ]
        if self.forgotten:
            parts.append(f"forgotten by Valkey {self.forgotten}")
        if self.unplanned_outages:
            parts.append(f"Valkey too slow {self.unplanned_outages} times")
        return "  ".join(parts) + "".join(f"\n    WRONG: {fault}" for fault in self.faults)


class Rounds:
    """Plays rounds on one machine."""

    def __init__(self, machine: Machine, load: Load, books: Books, *, seed: str) -> None:
        self.machine, self.load, self.books = machine, load, books
        self.random = random.Random(seed)
        self.tasks = Tasks(machine, books)
        self.kinds: dict[str, Callable[[], tuple[float, float]]] = {
            "worker": self._kill_worker,
            "worker's child": self._kill_child_of_worker,
            "web": self._kill_web,
            "web process": self._kill_web_process,
            "valkey": self._kill_valkey,
        }
        self.interrupted = NOTHING
        self.dead: Process | None = None
        self.taken: Counter[int] = Counter()
        # What ended though nobody killed it: Celery gives up at times when its broker dies, and granian
        # when a process of its dies soon after another.
        self.ended_alone: Counter[str] = Counter()

    def play(self, kind: str) -> Outcome:
        """One round; whatever is wrong afterwards stands in its `faults`."""
        start, notes = time.monotonic(), self.load.notes
        first = len(notes.attempts)
        before = (self.books.counted_requests(), notes.resent, notes.found_stored)
        taken = self.books.taken_by_valkey(self.load.org_ids)
        log_at = self.machine.web.log.stat().st_size
        assert wait_until(self._web_is_up, seconds=60), "the web server does not start"
        self._get_going(first, flushed=kind.startswith("worker"))
        self._pass_time(0.15)
        killed = self.kinds[kind]()
        self._pass_time(0.3)
        self._restart(kind)
        if kind == "valkey":
            self._pass_time(0.5)
        self.load.pause()
        assert wait_until(self._is_idle, seconds=60), "a batch is never acknowledged"

        outcome = Outcome(kind, interrupted=self.interrupted)
        if kind == "valkey":
            outcome.may_be_forgotten = self._may_be_forgotten(first, taken, killed)
        with self.machine.web.log.open("rb") as log:
            log.seek(log_at)
            outages = log.read().count(b"quotas.limiter_back")
        # Each of the web server's processes notices that Valkey was killed.
        planned = len(self.machine.web.children()) if kind == "valkey" else 0
        outcome.unplanned_outages = max(outages - planned, 0)
        self._settle(outcome, first, before[0], killed)
        self._compare_events(outcome)
        outcome.resent = notes.resent - before[1]
        outcome.found_stored = notes.found_stored - before[2]
        outcome.faults += [f"unexpected answer: {text}" for text in notes.surprises]
        notes.surprises.clear()
        outcome.seconds = time.monotonic() - start
        return outcome

    # --- before and around the kill

    def _get_going(self, first: int, *, flushed: bool) -> None:
        """Until requests are answered, batches acknowledged and, if asked for, flushes written by
        the workers in this round.
        """
        written, batches = self.books.generations(), self.load.notes.batches
        self._revive()
        if flushed:
            for worker in self.machine.workers:
                self.machine.await_worker(worker)
        self.load.resume()

        def going() -> bool:
            self._revive()
            self.tasks.keep_busy()
            return (
                len(self.load.notes.attempts) >= first + 25
                and self.load.notes.batches >= batches + 2
                and (not flushed or self.books.generations() >= written + 3)
            )

        if not wait_until(going, seconds=60):
            raise AssertionError(
                f"no load, or no worker flushes: {len(self.load.notes.attempts) - first} requests,"
                f" {self.books.generations() - written} flushes written"
            )

    def _web_is_up(self) -> bool:
        self._revive()
        return self.machine.web_is_up()

    def _is_idle(self) -> bool:
        self._revive()
        return self.load.is_idle()

    def _revive(self) -> None:
        """Starts what ended by itself, as any supervisor does."""
        for process in (self.machine.web, *self.machine.workers):
            if process is not self.dead and process.has_ended():
                self.ended_alone[process.name] += 1
                self.machine.start(process)

    def _pass_time(self, most: float) -> None:
        end = time.monotonic() + self.random.uniform(0, most)
        while time.monotonic() < end:
            self.tasks.keep_busy()
            time.sleep(0.005)

    def _look(self) -> None:
        self.interrupted = self.books.waiting()

    def _kill_worker(self) -> tuple[float, float]:
        self._aim()
        self.dead = self.random.choice(self.machine.workers)
        began = time.monotonic()
        self.dead.kill()
        self._look()
        return began, time.monotonic()

    def _kill_child_of_worker(self) -> tuple[float, float]:
        began = time.monotonic()
        for worker in self.machine.workers:
            children = worker.children()
            self._aim()
            self._kill_one(children)
        self._look()
        return began, time.monotonic()

    def _kill_one(self, pids: list[int]) -> None:
        if pids:  # none: their parent ended by itself just now
            os.kill(self.random.choice(pids), signal.SIGKILL)

    def _aim(self) -> None:
        """Waits until a generation is set aside, or even written and not yet cleared; then a few
        milliseconds at most.
        """
        written, end = self.random.random() < 0.5, time.monotonic() + 1.0
        while time.monotonic() < end:
            waiting = self.books.waiting()
            if waiting.written if written else waiting.claimed:
                break
            self.tasks.keep_busy()
        time.sleep(self.random.uniform(0, 0.006))

    def _kill_web(self) -> tuple[float, float]:
        began = time.monotonic()
        self.dead = self.machine.web
        self.dead.kill()
        self.interrupted = NOTHING
        return began, time.monotonic()

    def _kill_web_process(self) -> tuple[float, float]:
        began = time.monotonic()
        self._kill_one(self.machine.web.children())
        self.interrupted = NOTHING
        return began, time.monotonic()

    def _kill_valkey(self) -> tuple[float, float]:
        began = time.monotonic()
        self.machine.kill_valkey()
        self.interrupted = NOTHING
        return began, time.monotonic()

    def _restart(self, kind: str) -> None:
        if self.dead is not None:
            self.machine.start(self.dead)
            self.dead = None
        elif kind == "valkey":
            self.machine.valkey.start()
            self.taken = self.books.taken_by_valkey(self.load.org_ids)
            self._look()

    def _may_be_forgotten(
        self, first: int, before: Counter[int], killed: tuple[float, float]
    ) -> Counter[int]:
        """Requests answered that Valkey may have taken, less those that it knew once it was back.

        One that was under way may have been taken, or not and be counted by its web process.
        """
        answered = Counter(
            attempt.org_id
            for attempt in self.load.notes.attempts[first:]
            if attempt.outcome == ANSWERED and attempt.began <= killed[1]
        )
        return answered - (self.taken - before)

    # --- afterwards

    def _settle(
        self, outcome: Outcome, first: int, before: Counter[int], killed: tuple[float, float]
    ) -> None:
        """Flushes until nothing waits and every web process has handed over what it kept."""
        outage = outcome.kind == "valkey" or outcome.unplanned_outages
        hands_over_until = time.monotonic() + (HAND_OVER_SECONDS if outage else 0.0)

        def settled() -> bool:
            self.machine.clerk.work()
            over = time.monotonic() >= hands_over_until
            return over and not self.books.waiting() and not self._short(first, before)

        quiet = wait_until(settled, seconds=SETTLE_SECONDS)
        if not quiet and self.books.waiting():
            outcome.faults.append(f"requests still wait for the flush: {self.books.waiting()}")
        self._compare_requests(outcome, first, before, killed)

    def _short(self, first: int, before: Counter[int]) -> bool:
        counted, answered = self.books.counted_requests(), Counter(before)
        for attempt in self.load.notes.attempts[first:]:
            answered[attempt.org_id] += attempt.outcome == ANSWERED
        return any(counted[org_id] < answered[org_id] for org_id in self.load.org_ids)

    def _compare_requests(
        self, outcome: Outcome, first: int, before: Counter[int], killed: tuple[float, float]
    ) -> None:
        attempts = self.load.notes.attempts[first:]
        counted = self.books.counted_requests()
        if counted != self.books.requests_in_hours():
            outcome.faults.append("periods and hours differ in API requests")
        for org_id in self.load.org_ids:
            mine = [attempt for attempt in attempts if attempt.org_id == org_id]
            answered = sum(attempt.outcome == ANSWERED for attempt in mine)
            doubt = sum(self._is_in_doubt(attempt, outcome, killed) for attempt in mine)
            new = counted[org_id] - before[org_id]
            outcome.answered, outcome.in_doubt = (
                outcome.answered + answered,
                outcome.in_doubt + doubt,
            )
            outcome.counted += new
            slack = outcome.unplanned_outages * BLOCKING_THREADS
            least = answered - outcome.may_be_forgotten[org_id]
            outcome.forgotten += max(answered - new, 0)
            if not least <= new <= answered + doubt + slack:
                outcome.faults.append(
                    f"organization {org_id}: {answered} answered, {doubt} in doubt, {new} counted"
                )

    @staticmethod
    def _is_in_doubt(attempt: Attempt, outcome: Outcome, killed: tuple[float, float]) -> bool:
        if attempt.outcome != ANSWERED:
            return True
        under_way = attempt.began <= killed[1] and attempt.ended >= killed[0]
        return outcome.kind == "valkey" and under_way

    def _compare_events(self, outcome: Outcome) -> None:
        expected = {
            key: (told["events"], told["quantity"]) for key, told in self.load.notes.events.items()
        }
        outcome.events = sum(number for number, _ in expected.values())

        def rolled_up() -> bool:
            self.machine.clerk.work()
            return self.books.rolled_up("hour") == expected

        wait_until(rolled_up, seconds=SETTLE_SECONDS)
        found = {
            "stored": self.books.events(),
            "in hours": self.books.rolled_up("hour"),
            "in days": self.books.rolled_up("day"),
        }
        for where, events in found.items():
            if events != expected:
                differing = sorted(
                    (key, expected.get(key), events.get(key))
                    for key in expected.keys() | events.keys()
                    if expected.get(key) != events.get(key)
                )
                outcome.faults.append(f"events {where} (sent, found): {differing[:3]}")
        jobs = {
            org: total for (org, meter), (_, total) in expected.items() if meter == "compile_jobs"
        }
        if self.books.compile_jobs() != jobs:
            outcome.faults.append(f"jobs in periods {self.books.compile_jobs()}, sent {jobs}")


def verify(machine: Machine) -> list[str]:
    """What `manage.py usage verify` finds."""
    done = machine.manage("usage", "verify")
    return [] if done.returncode == 0 else [f"usage verify: {done.stdout}{done.stderr}"]
