"""A server that accepts and never answers: a process waits for it once, not with every request."""

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

logger = structlog.get_logger(__name__)
PAUSE_SECONDS = 0.1
MOST_KEPT = 10_000


class Silence:
    """From the first call that waits in vain until the server answers again, or refuses.

    Meanwhile a thread asks, and nobody else does. What is to be done once it is over is kept here, and
    lost with the process.
    """

    def __init__(self, ping: Callable[[], object]) -> None:
        self._ping = ping
        self._lock = threading.Lock()
        self._lasting = False
        self._kept: deque[Callable[[], object]] = deque()

    @property
    def lasting(self) -> bool:
        """Whether the server is thought not to answer."""
        return self._lasting

    def begin(self) -> None:
        """A call waited in vain."""
        with self._lock:
            if self._lasting:
                return
            self._lasting = True
        logger.error("valkey.silent")
        threading.Thread(target=self._watch, name="valkey-silence", daemon=True).start()

    def afterwards(self, act: Callable[[], object]) -> bool:
        """Keeps an act for when it is over. False: it is over, or there are too many."""
        with self._lock:
            if not self._lasting or len(self._kept) >= MOST_KEPT:
                return False
            self._kept.append(act)
            return True

    def _watch(self) -> None:
        while self._is_silent():
            time.sleep(PAUSE_SECONDS)
        with self._lock:
            self._lasting = False
            kept, self._kept = self._kept, deque()
        logger.warning("valkey.silence_over", kept=len(kept))
        for act in kept:
            try:
                act()
            except Exception:
                logger.exception("valkey.act_failed")

    def _is_silent(self) -> bool:
        try:
            self._ping()
        except RedisTimeoutError:
            return True
        except RedisError:  # refused, or busy: whoever asks learns so at once
            return False
        return False
