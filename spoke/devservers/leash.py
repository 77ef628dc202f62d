"""Ends the supervisor's children when the supervisor is gone without having done so itself.

It reads `+group` and `-group` lines from the supervisor; the kernel closes the pipe however the
supervisor dies. It holds the servers' locks too, so that they outlive the children's last writes.
"""

import contextlib
import os
import signal
import sys

from .errors import wait_until

PATIENCE_SECONDS = 10.0


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _signal(groups: set[int], sign: signal.Signals) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, sign)


def main() -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        if line.endswith("\n"):
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    _signal(groups, signal.SIGTERM)
    if not wait_until(lambda: not any(map(_exists, groups)), seconds=PATIENCE_SECONDS, every=0.1):
        _signal(groups, signal.SIGKILL)
