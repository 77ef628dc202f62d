"""The supervised processes: each in a process group of its own, its output passed on by line."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from .standalone import standalone

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
# A process that lived this long had started well: its next failure is a new one.
SETTLED_SECONDS = 20.0


class Printer:
    """Writes prefixed lines; notices when nobody reads them any more (`make run | head`)."""

    def __init__(self) -> None:
        self.broken = False
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def line(self, name: str, colour: int, text: str) -> None:
        prefix = f"{name:<7}|"
        if self.colour:
            prefix = f"\033[{colour}m{prefix}\033[0m"
        self.plain(f"{prefix} {text}")

    def plain(self, text: str = "") -> None:
        try:
            print(text, flush=True)
        except (BrokenPipeError, ValueError):
            self.broken = True
            # The interpreter's own flush at exit must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Leash:
    """Our end of the process in leash.py."""

    def __init__(self, root: Path, descriptors: tuple[int, ...]) -> None:
        self.process = subprocess.Popen(
            standalone("leash"),
            stdin=subprocess.PIPE,
            cwd=root,
            pass_fds=descriptors,
            start_new_session=True,
        )

    def tell(self, sign: str, group: int) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.write(f"{sign}{group}\n".encode())
            pipe.flush()

    def let_go(self) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()
        self.process.wait()


class Child:
    def __init__(
        self, name: str, colour: int, command: list[str], *, root: Path, env: Mapping[str, str]
    ) -> None:
        self.name, self.colour, self.command = name, colour, command
        self.root, self.env = root, env
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.started_at = 0.0
        self.start_at: float | None = time.monotonic()  # None: it runs, or shall not run
        self.last_lines: deque[str] = deque(maxlen=15)
        self._rest = b""

    def start(self, selector: selectors.BaseSelector, leash: Leash) -> None:
        self.start_at = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.root,
            env=self.env,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops us
        )
        leash.tell("+", self.process.pid)
        pipe = self._pipe()
        os.set_blocking(pipe, False)
        selector.register(pipe, selectors.EVENT_READ, self)

    def pump(self, printer: Printer) -> bool:
        """Pass on what the process has said; False when it has closed its output."""
        while True:
            try:
                data = os.read(self._pipe(), 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").rstrip("\r")
                self.last_lines.append(text)
                printer.line(self.name, self.colour, text)

    def ended(self, selector: selectors.BaseSelector, leash: Leash, printer: Printer) -> int | None:
        """The exit status once the process is gone, its stragglers killed; None while it runs."""
        process = self.process
        if process is None or process.poll() is None:
            return None
        self.pump(printer)
        # A granian master that was killed leaves workers that still listen on the port.
        self.signal(signal.SIGKILL)
        leash.tell("-", process.pid)
        selector.unregister(self._pipe())
        assert process.stdout is not None
        process.stdout.close()
        self.process = None
        return process.returncode

    def plan_restart(self) -> float | None:
        """Seconds until the next attempt; None after too many failures in a row."""
        if time.monotonic() - self.started_at > SETTLED_SECONDS:
            self.failures = 0
        if self.failures == len(BACKOFF_SECONDS):
            return None
        delay = BACKOFF_SECONDS[self.failures]
        self.failures += 1
        self.start_at = time.monotonic() + delay
        return delay

    def due(self) -> bool:
        return self.start_at is not None and time.monotonic() >= self.start_at

    def signal(self, sign: signal.Signals) -> None:
        """To the whole group, or by SIGTERM to its leader, who knows how to stop its own."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sign is signal.SIGKILL:
                os.killpg(self.process.pid, sign)
            else:
                self.process.send_signal(sign)

    def _pipe(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.fileno()
