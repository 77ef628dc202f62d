"""In development the application's clock can be turned together with that of the Stripe server."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone


class Clock:
    """The real time and what a file says is to be added to it, in seconds."""

    def __init__(self, file: Path, real: Callable[[], datetime]) -> None:
        self.file, self.real = file, real
        self._added = timedelta()
        self._read: tuple[int, int] | None = None

    def now(self) -> datetime:
        """The application's time."""
        # At every call: who is given work by a process that has turned it is not behind that.
        written = self._written()
        if written != self._read:
            self._read, self._added = written, timedelta(seconds=self.added())
        return self.real() + self._added

    def _written(self) -> tuple[int, int] | None:
        """Which writing of the file there is."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def added(self) -> float:
        """What the file says."""
        try:
            return float(self.file.read_text())
        except (OSError, ValueError):
            return 0.0

    def turn(self, seconds: float) -> None:
        """Turns the clock on, for every process that reads the file."""
        partial = self.file.with_suffix(f".{os.getpid()}")
        partial.write_text(str(self.added() + seconds))
        partial.replace(self.file)


def install(file: Path) -> Clock:
    """`timezone.now` follows the file from now on."""
    clock = Clock(file, timezone.now)
    timezone.now = clock.now
    return clock
