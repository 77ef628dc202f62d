"""What a web process does by itself while Valkey is away: limit, and keep what it counted."""

import threading
import time
import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter as Metric
from redis import Redis
from redis.exceptions import RedisError

from quotas.services.valkey import claimed_key, requests_key, shard_of

logger = structlog.get_logger(__name__)
LOST = Metric(
    "spoke_quota_requests_lost_total", "Served requests that could not be kept for the usage."
)
WINDOW_MINUTES = 60
# Whoever was not seen for longest is forgotten first; about 4 KiB each at most.
MOST_SUBJECTS = 10_000
MOST_COUNTS = 100_000
RETRY_SECONDS = 1.0


class LocalLimiter:
    """A sliding hour by minutes in this process's memory: the current minute and the 60 before it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: OrderedDict[str, Counter[int]] = OrderedDict()

    def hit(self, key: str, limit: int, now: float) -> tuple[bool, int, int]:
        """Counts a request unless the limit is reached: (allowed, remaining, seconds to wait)."""
        minute = int(now // 60)
        with self._lock:
            minutes = self._minutes.setdefault(key, Counter())
            self._minutes.move_to_end(key)
            if len(self._minutes) > MOST_SUBJECTS:
                self._minutes.popitem(last=False)
            for old in [m for m in minutes if m < minute - WINDOW_MINUTES]:
                del minutes[old]
            used = minutes.total()
            allowed = used < limit
            if allowed:
                minutes[minute] += 1
            first = min(minutes, default=minute)
        wait = int((first + WINDOW_MINUTES + 1) * 60 - now) + 1
        return allowed, max(limit - used - 1, 0) if allowed else 0, wait

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._minutes.clear()


@dataclass(frozen=True)
class Batch:
    """Counts under a generation of their own, so that handing them over twice counts once."""

    shard: int
    generation: str
    counts: dict[tuple[int, int], int]  # (organization, hour as seconds since the epoch) → requests


class Spool:
    """Served requests counted here until Valkey takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handing = threading.Lock()
        self._counts: Counter[tuple[int, int]] = Counter()
        self._batches: list[Batch] = []

    def add(self, org_id: int, now: float) -> None:
        """Counts one request of an organization. What no longer fits is counted as lost."""
        key = (org_id, int(now // 3600) * 3600)
        with self._lock:
            if key not in self._counts and len(self._counts) >= MOST_COUNTS:
                LOST.inc()
                return
            self._counts[key] += 1

    def hand_over(self, deliver: Callable[[Batch], object]) -> None:
        """Gives every batch to `deliver`; one that it raises for is kept, under its name, for later."""
        with self._handing:
            self._batches += self._sorted_out()
            while self._batches:
                deliver(self._batches[0])
                del self._batches[0]

    def pending(self) -> int:
        """How many requests wait here."""
        with self._lock:
            waiting = self._counts.total()
        return waiting + sum(sum(batch.counts.values()) for batch in self._batches)

    def _sorted_out(self) -> list[Batch]:
        with self._lock:
            counts, self._counts = self._counts, Counter()
        shards: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        for (org_id, hour), number in counts.items():
            shards[shard_of(org_id)][org_id, hour] = number
        return [Batch(shard, uuid.uuid4().hex, part) for shard, part in shards.items()]


def deliver_to_valkey(client: "Redis", batch: Batch) -> None:
    """Puts a batch among those set aside for the flush. Raises RedisError when Valkey is away."""
    pipeline = client.pipeline(transaction=True)
    mapping: dict[Any, Any] = {
        f"{org_id}:{hour}": number for (org_id, hour), number in batch.counts.items()
    }
    pipeline.hset(requests_key(batch.shard, batch.generation), mapping=mapping)
    pipeline.sadd(claimed_key(batch.shard), batch.generation)
    pipeline.execute()


class Breaker:
    """Keeps requests from waiting for a server that is away: one of them tries again each second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._tried_at: float | None = None  # None: closed, calls pass

    @property
    def is_open(self) -> bool:
        """Whether the server is thought to be away."""
        return self._tried_at is not None

    def trip(self) -> None:
        """The server did not answer."""
        with self._lock:
            self._tried_at = self._clock()

    def allows(self, probe: Callable[[], object]) -> bool:
        """Whether to call the server. While open, `probe` is tried at most once a second."""
        if self._tried_at is None:
            return True
        with self._lock:
            if self._tried_at is not None:
                if self._clock() - self._tried_at < RETRY_SECONDS:
                    return False
                self._tried_at = self._clock()
        try:
            probe()
        except RedisError:
            return False
        with self._lock:
            self._tried_at = None
        return True
