"""Beat's scheduler: each entry is sent once for its time, however many beats run.

Two beats do no harm without it, since every entry only finds what is due; they would do the finding
twice. While Valkey is away the broker is too, so there is nothing to lose by sending then.
"""

import time
from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry
from celery.schedules import crontab
from redis.exceptions import RedisError

from spoke.core import valkey

MINUTE = 60.0


def slot_of(entry: ScheduleEntry, now: float) -> tuple[int, float]:
    """The number of the slot that a time lies in, and the slots' length in seconds."""
    every: Any = entry.schedule
    length = MINUTE if isinstance(every, crontab) else every.run_every.total_seconds()
    return int(now // length), length


def claim(entry: ScheduleEntry, now: float) -> bool:
    """Whether this beat is the first to send the entry for its slot."""
    slot, length = slot_of(entry, now)
    key = f"spoke:beat:{entry.name}:{slot}"
    try:
        return bool(valkey.task_client().set(key, "", nx=True, ex=int(2 * length) + 60))
    except RedisError:
        return True


class OnceScheduler(PersistentScheduler):
    """Sends what is due, unless another beat has."""

    def apply_async(self, entry, producer=None, advance=True, **kwargs):  # type: ignore[no-untyped-def]
        """The result of sending, or None where another beat did."""
        if not claim(entry, time.time()):
            if advance:
                self.reserve(entry)
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
