"""What is logged of the door past row-level security: everything of people, and the timetable's in sum.

Periodic work opens the door every few seconds for the same few reasons. A line for each would bury
those of people: a reason is logged when it is first given in a process, then every ten minutes with
how often it was given since; each single use is at DEBUG.
"""

import threading
from time import monotonic

import structlog

logger = structlog.get_logger(__name__)
EVERY_SECONDS = 600.0
PERIODIC = "system"


class Uses:
    """Counts uses by reason. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def count(self, reason: str, now: float) -> int:
        """How many uses there were since the last line, this one included; 0: no line is due."""
        with self._lock:
            uses = self._since.pop(reason, 0) + 1
            last = self._logged.get(reason)
            if last is not None and now - last < EVERY_SECONDS:
                self._since[reason] = uses
                return 0
            self._logged[reason] = now
            return uses


_uses = Uses()


def log_opening(*, reason: str, actor: str) -> None:
    """The door is opened for a reason, by somebody."""
    if actor != PERIODIC:
        logger.info("tenancy.door_opened", reason=reason, actor=actor)
        return
    uses = _uses.count(reason, monotonic())
    log = logger.info if uses else logger.debug
    log("tenancy.door_opened", reason=reason, actor=actor, **({"uses": uses} if uses > 1 else {}))
