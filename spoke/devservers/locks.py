"""File locks. The kernel drops them when their last holder dies, kill -9 included.

An flock belongs to the open file, not to the process: a child that inherits the descriptor holds
the lock too. That is how a server's own processes tell us that one of them still lives.
"""

import fcntl
import os
from pathlib import Path

from .errors import DevServerError, wait_until


class FileLock:
    """One open lock file. Not held until one of the methods below says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Never 0, 1 or 2: with stdin closed, as CI may have it, a lock would land there, and a
        # child's redirected stdin would then drop it.
        self.fd = fcntl.fcntl(raw, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(raw)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def exclusive(self, *, seconds: float) -> None:
        if not wait_until(self.try_exclusive, seconds=seconds):
            raise DevServerError(f"another process has held {self.path} for {seconds:.0f} s")

    def shared(self, *, seconds: float) -> None:
        if not wait_until(lambda: self._try(fcntl.LOCK_SH), seconds=seconds):
            raise DevServerError(f"another process has held {self.path} for {seconds:.0f} s")

    def unlock(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go, unless a child inherited the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def in_place(self) -> bool:
        """False when somebody deleted the file (`git clean`): a lock on it then means nothing."""
        try:
            there = self.path.stat()
        except OSError:
            return False
        here = os.fstat(self.fd)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self.fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_held(path: Path) -> bool:
    """Whether some process holds the lock right now."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        return not lock.try_exclusive()
    finally:
        lock.close()
