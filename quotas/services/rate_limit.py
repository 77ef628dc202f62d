"""The hourly limit of API requests, exact in any 60 minutes, which counts usage in the same step.

Requests are counted by the minute. A minute counts in full until its last request is 60 minutes old,
so what is checked is never less than what the last 60 minutes held, wherever they begin: the current
minute and up to 60 before it, 61 in all. With only 60 minutes in all it would be less: at 12:30:30 the
window reaches back to 11:30:30, and the half of minute 11:30 that lies in it would go uncounted; with
1,000 requests at 11:30:45 and 1,000 more at 12:30:15, 2,000 would pass within an hour. Counting one
minute more costs at most one part in 61: a caller who is steadily at the limit gets 60/61 of it, 98.4%.

While Valkey is away requests are served under a local limit of their limit divided by the number of web
processes, unless QUOTA_RATE_LIMIT_FAIL_CLOSED. What is served is kept here and handed over within
seconds once Valkey is back, whether or not this process is asked anything by then; only a process
killed before that loses it. At most one request a thread and outage can be counted twice: the one whose
answer came too late.
"""

import atexit
import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError
from prometheus_client import Counter
from redis.exceptions import RedisError

from quotas.services import valkey
from quotas.services.flush import generation_id, write_generation
from quotas.services.local_limit import (
    RETRY_SECONDS,
    Batch,
    Breaker,
    LocalLimiter,
    Spool,
    deliver_to_valkey,
)
from spoke.core.errors import ServiceUnavailable
from spoke.core.stamps import stamp_key

logger = structlog.get_logger(__name__)
MISSES = Counter(
    "spoke_quota_limiter_misses_total", "Requests that could not be counted in Valkey when served."
)
WINDOW_SECONDS = 3600
# Lua counts in doubles: whole numbers are exact up to here.
MOST = 2**53 - 1
LOG_SECONDS = 60.0


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass. `limit` and `remaining` None: unlimited.

    `reset` is in how many seconds more becomes available; of a refused request, when to try again.
    `used` is what the last 60 minutes count; None while Valkey is away. `stands` says of the stamp asked
    about whether it is still the organization's; None where nobody could be asked.
    """

    allowed: bool
    limit: int | None
    remaining: int | None
    reset: int
    used: int | None = None
    stands: bool | None = None


# The stamp is another by now: nothing was counted, and what the caller remembers is void.
OUTDATED = Verdict(allowed=False, limit=None, remaining=None, reset=1, stands=False)


class Outage:
    """What this process knows of Valkey being away.

    `by_itself`: what is kept here is handed over by a thread, and not by the next request alone.
    """

    def __init__(self, *, by_itself: bool = True) -> None:
        self.breaker = Breaker()
        self.limiter = LocalLimiter()
        self.spool = Spool()
        self._lock = threading.Lock()
        self._by_itself = by_itself
        self._watching = False
        self._missed = 0
        self._logged_at = -math.inf

    def available(self) -> bool:
        """Whether to ask Valkey. When it has come back it first takes what was counted here."""
        return not valkey.is_silent() and self.breaker.allows(self._recover)

    def _recover(self) -> None:
        client = valkey.request_client()
        valkey.call(client, "PING")
        waiting = self.spool.pending()
        self.spool.hand_over(lambda batch: deliver_to_valkey(client, batch))
        logger.info("quotas.limiter_back", handed_over=waiting)

    def keep(self, org_id: int, now: float) -> None:
        """Keeps the count of a request served here until Valkey takes it."""
        self.spool.add(org_id, now)
        with self._lock:
            if self._watching or not self._by_itself:
                return
            self._watching = True
        threading.Thread(target=self._watch, name="quotas-hand-over", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(RETRY_SECONDS)
            if self.available() and self.spool.pending():
                # Kept by a request that saw the outage and was slower than its end.
                self.breaker.trip()
            with self._lock:
                # Under the lock that `keep` takes after adding: what is added later is seen there.
                if not self.breaker.is_open and not self.spool.pending():
                    self._watching = False
                    return

    def miss(self, cause: Exception | None) -> None:
        """Counts a request that Valkey did not see; says so in the log once a minute."""
        MISSES.inc()
        with self._lock:
            self._missed += 1
            if time.monotonic() - self._logged_at < LOG_SECONDS:
                return
            missed, self._missed, self._logged_at = self._missed, 0, time.monotonic()
        logger.error("quotas.limiter_away", requests=missed, cause=repr(cause) if cause else "")


outage = Outage()


def hit_organization(
    *, org_id: int, limit: int | None, stamp: str | None = None, now: datetime | None = None
) -> Verdict:
    """Counts a request of an organization, as usage too, if its hourly limit allows it.

    `stamp` is compared with the organization's in the same step: if it is another by now, OUTDATED is
    returned and nothing is counted. `now` stands in for Valkey's clock. Raises ServiceUnavailable when
    Valkey is away and the setting says to refuse then.
    """
    keys = [valkey.organization_key(org_id), valkey.requests_key(valkey.shard_of(org_id))]
    if stamp is not None:
        keys.append(stamp_key(org_id))
    return _hit(keys, limit, org_id, now, stamp)


def hit_user(*, user_id: int, limit: int | None, now: datetime | None = None) -> Verdict:
    """Counts a request of a person outside any organization; it is nobody's usage."""
    return _hit([valkey.user_key(user_id)], limit, None, now)


def requests_of_hour(*, org_id: int, now: datetime | None = None) -> int | None:
    """How many requests of an organization the last 60 minutes count; None while Valkey is away."""
    if outage.breaker.is_open:
        return None
    try:
        found = _ask([valkey.organization_key(org_id)], None, None, now, count=False)
    except RedisError as exc:
        outage.breaker.trip()
        logger.warning("quotas.limiter_unread", cause=repr(exc))
        return None
    return found.used


def _hit(
    keys: list[str],
    limit: int | None,
    org_id: int | None,
    now: datetime | None,
    stamp: str | None = None,
) -> Verdict:
    cause = None
    if outage.available():
        try:
            return _ask(keys, limit, org_id, now, count=True, stamp=stamp)
        except RedisError as exc:
            outage.breaker.trip()
            cause = exc
    outage.miss(cause)
    if settings.QUOTA_RATE_LIMIT_FAIL_CLOSED:
        raise ServiceUnavailable("Requests cannot be counted at the moment. Try again.")
    return _hit_locally(keys[0], limit, org_id, now)


def _ask(
    keys: list[str],
    limit: int | None,
    org_id: int | None,
    now: datetime | None,
    *,
    count: bool,
    stamp: str | None = None,
) -> Verdict:
    clock = "" if now is None else str(_microseconds(now))
    bound = -1 if limit is None else min(limit, MOST)
    arguments: list[Any] = [bound, org_id or "", clock, "1" if count else "0", stamp or ""]
    answer = valkey.script("rate_limit")(valkey.request_client(), keys, arguments)
    if answer == [-1]:
        return OUTDATED
    allowed, remaining, wait, used = answer
    return Verdict(
        allowed=bool(allowed),
        limit=limit,
        remaining=None if limit is None else remaining,
        reset=max(math.ceil(wait / 1_000_000), 1),
        used=used,
        stands=None if stamp is None else True,
    )


def _microseconds(at: datetime) -> int:
    # In whole numbers: a float of this size would be off by a fraction of a microsecond.
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def _hit_locally(key: str, limit: int | None, org_id: int | None, now: datetime | None) -> Verdict:
    seconds = now.timestamp() if now else time.time()
    share = None if limit is None else math.ceil(limit / max(settings.QUOTA_WEB_PROCESSES, 1))
    bound = MOST if share is None else share
    allowed, remaining, wait = outage.limiter.hit(key, bound, seconds)
    if allowed and org_id is not None:
        outage.keep(org_id, seconds)
    return Verdict(allowed, limit, None if limit is None else remaining, wait)


def deliver_to_postgresql(batch: Batch) -> None:
    """Writes a batch as the flush would. Raises DatabaseError."""
    write_generation(
        generation=generation_id(batch.shard, batch.generation),
        counts=batch.counts,
        now=datetime.now(UTC),
    )


def _hand_over_at_exit() -> None:
    """A process that ends during an outage leaves its counts in Valkey, else in PostgreSQL."""
    if not outage.spool.pending():
        return
    try:
        client = valkey.task_client()
        outage.spool.hand_over(lambda batch: deliver_to_valkey(client, batch))
    except RedisError:
        try:
            outage.spool.hand_over(deliver_to_postgresql)
        except DatabaseError:
            logger.critical("quotas.counted_requests_lost", requests=outage.spool.pending())


atexit.register(_hand_over_at_exit)
