"""The one error people see, and the one way this package waits."""

import time
from collections.abc import Callable


class DevServerError(RuntimeError):
    """The development servers cannot do what was asked; the message says what to do about it."""


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.02) -> bool:
    """True as soon as `condition()` holds, False when `seconds` have passed without."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
