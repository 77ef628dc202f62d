"""The process that starts one server, restarts it when it dies, and stops it after its last user.

Users hold a shared lock on `users.lock` (a test run an exclusive one). The guardian holds
`guardian.lock`, which its starter took and handed over by inheritance, so that there is never a
second one. When it gets `users.lock` exclusively, nobody is left.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path

from .errors import DevServerError
from .locks import FileLock
from .places import Instance
from .services import SERVERS

TICK = 0.2
# Commands one after another, as in a script, find the server still up.
LINGER_SECONDS = 2.0
MOST_RESTARTS, RESTART_WINDOW = 5, 60.0
LARGEST_LOG = 4 * 1024 * 1024


class Guardian:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.users = FileLock(instance.path("users.lock"))
        self.server = SERVERS[instance.service](instance)
        self.told_to_stop = threading.Event()
        self.restarts: deque[float] = deque(maxlen=MOST_RESTARTS)

    def begin(self) -> None:
        """Bring the server up; raises when that fails."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self.told_to_stop.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            if self.instance.log.stat().st_size > LARGEST_LOG:
                self.instance.log.replace(self.instance.path("server.log.1"))
        if self.instance.ephemeral:
            self._forget_last_run()
        self.server.start()

    def watch(self) -> None:
        """Until the last user has gone. Returns holding `users.lock`, with the server stopped."""
        idle_since: float | None = None
        linger = 0.0 if self.instance.ephemeral else LINGER_SECONDS
        while not self.told_to_stop.wait(TICK):
            if not self.users.in_place():
                self.server.stop(at_once=True)  # somebody deleted our folder
                return
            if self.users.try_exclusive():
                now = time.monotonic()
                idle_since = now if idle_since is None else idle_since
                if now - idle_since >= linger:
                    break
                self.users.unlock()
            else:
                idle_since = None
            self._revive()
        self.server.stop(at_once=self.instance.ephemeral)
        self._clear_sockets()
        if self.instance.ephemeral:
            shutil.rmtree(self.server.data, ignore_errors=True)

    def _revive(self) -> None:
        """Start the server again if it died, or if its socket was swept away from under it."""
        sockets = self.instance.sockets()
        if self.server.alive() and sockets and self.server.socket(sockets).exists():
            return
        now = time.monotonic()
        if len(self.restarts) == MOST_RESTARTS and now - self.restarts[0] < RESTART_WINDOW:
            raise DevServerError(
                f"{self.instance.service} died {MOST_RESTARTS} times within {RESTART_WINDOW:.0f} s"
            )
        self.restarts.append(now)
        self.say("the server is gone; starting it again")
        if self.server.alive():
            self.server.stop()
        self.server.start()

    def _forget_last_run(self) -> None:
        """A test run starts from nothing, whatever a killed one left behind."""
        if self.server.alive():
            self.server.stop(at_once=True)
        shutil.rmtree(self.server.data, ignore_errors=True)

    def _clear_sockets(self) -> None:
        sockets = self.instance.sockets()
        if sockets is not None:
            shutil.rmtree(sockets, ignore_errors=True)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError), self.instance.log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} guardian {os.getpid()}: {text}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--root", "--home", "--service", "--kind"):
        parser.add_argument(name, required=True)
    parser.add_argument("--lock", type=int, required=True)
    parser.add_argument("--report", type=int, required=True)
    options = parser.parse_args()
    if os.fork():  # our starter may live long; as init's child we leave no zombie with it
        os._exit(0)
    os.chdir("/")
    os.ftruncate(options.lock, 0)
    os.pwrite(options.lock, str(os.getpid()).encode(), 0)  # for `stop`
    os.set_inheritable(options.lock, False)
    os.set_inheritable(options.report, False)
    home = Path(options.home)
    _guard(Instance(Path(options.root), options.service, options.kind, home), options)


def _guard(instance: Instance, options: argparse.Namespace) -> None:
    report = os.fdopen(options.report, "w")
    try:
        guardian = Guardian(instance)
        guardian.begin()
    except DevServerError as error:
        report.write(f"error {error}")
        sys.exit(1)
    except BaseException:
        report.write(f"error {traceback.format_exc()}")
        raise
    report.write("ok")
    with contextlib.suppress(BrokenPipeError):  # the starter was killed meanwhile
        report.close()
    try:
        guardian.watch()
    except DevServerError as error:
        guardian.say(f"giving up: {error}")
    # In this order: who then gets `users.lock` must find no guardian.
    os.close(options.lock)
    guardian.users.close()
