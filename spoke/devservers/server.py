"""What PostgreSQL and Valkey have in common here: starting, watching and stopping one process."""

import contextlib
import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from .errors import DevServerError, wait_until
from .locks import FileLock, is_held
from .places import Instance, ServerUser

START_SECONDS = 60.0  # crash recovery on a slow disk included
STOP_SECONDS = 8.0


class Server(ABC):
    """One server. Its processes inherit the lock `alive.lock`, so that the lock being free proves
    that none of them, not even an orphaned backend, touches the data any more."""

    pidfile = ""
    # Tried in turn when stopping: by request, by force.
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.user = ServerUser.current()
        self.child: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def data(self) -> Path:
        """The server's own folder."""

    @abstractmethod
    def prepare(self, run: "Runner") -> None:
        """Make the data folder if there is none."""

    @abstractmethod
    def command(self, sockets: Path) -> list[str]:
        """The command line. It names `data`, by which a process is recognised."""

    @classmethod
    @abstractmethod
    def answers(cls, sockets: Path) -> bool:
        """Whether the server serves requests right now."""

    @classmethod
    @abstractmethod
    def socket(cls, sockets: Path) -> Path:
        """The file that clients connect to."""

    @classmethod
    @abstractmethod
    def url(cls, sockets: Path) -> str:
        """What clients connect to."""

    def alive(self) -> bool:
        if self.child is not None:
            self.child.poll()  # a dead child would stay a zombie otherwise
        return is_held(self.instance.path("alive.lock"))

    def ready(self) -> bool:
        sockets = self.instance.sockets()
        return sockets is not None and self.answers(sockets)

    def start(self) -> None:
        """Return once the server answers; take over one that runs already."""
        lock = FileLock(self.instance.path("alive.lock"))
        try:
            if not lock.try_exclusive():
                if (
                    wait_until(lambda: self.ready() or not self.alive(), seconds=20)
                    and self.alive()
                ):
                    return
                self.stop()
                lock.exclusive(seconds=10)
            self._launch(lock)
        finally:
            lock.close()  # the server's processes hold on to it
        self._wait_for_answer()

    def stop(self, *, at_once: bool = False) -> None:
        """Return when no process of the server is left, or raise."""
        signals = self.signals[1:] if at_once else self.signals
        for sign in signals:
            pid = self._pid()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            if wait_until(lambda: not self.alive(), seconds=STOP_SECONDS):
                if self.child is not None:
                    self.child.wait()  # it let go of its lock an instant before its end
                return
        raise DevServerError(f"the {self.instance.service} server did not stop; see {self.log}")

    @property
    def log(self) -> Path:
        return self.instance.log

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's: it may hold secrets, and PG* variables would misguide tools."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}

    def _launch(self, lock: FileLock) -> None:
        # With ours held no one else serves this data: what a pid file says is about the past.
        sockets = self.instance.make_sockets(self.user)
        # Unless our folder was deleted: then the former server is just being stopped.
        if not wait_until(lambda: not self.answers(sockets), seconds=STOP_SECONDS):
            raise DevServerError(f"another {self.instance.service} server listens in {sockets}")
        runner = Runner(self, lock)
        self.prepare(runner)
        self._drop_stale(sockets)
        self.child = runner.launch(self.command(sockets))

    def _wait_for_answer(self) -> None:
        child = self.child
        assert child is not None
        wait_until(lambda: child.poll() is not None or self.ready(), seconds=START_SECONDS)
        if self.ready():
            return
        if child.poll() is None:
            self.stop()
        raise DevServerError(
            f"the {self.instance.service} server did not start:\n{tail(self.log)}\n({self.log})"
        )

    def _pid(self) -> int | None:
        """The main process, if it is one of ours."""
        if self.child is not None and self.child.poll() is None:
            return self.child.pid
        try:
            pid = int((self.data / self.pidfile).read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if str(self.data) in command_line(pid) else None

    def _drop_stale(self, sockets: Path) -> None:
        """PostgreSQL won't start if the pid in its files is alive, though it may be a zombie's, or
        that of another server of the same user after a restart of the machine or container."""
        if self._pid() is None:
            for path in (self.data / self.pidfile, *sockets.iterdir()):
                path.unlink(missing_ok=True)


class Runner:
    """Runs programs as the server's user, each holding the instance's `alive` lock."""

    def __init__(self, server: Server, lock: FileLock) -> None:
        self.server = server
        self.lock = lock

    def run(self, command: list[str], *, stdin: str = "") -> str:
        """The program's output; a failure is an error that shows it."""
        server = self.server
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            pass_fds=(self.lock.fd,),
            env=server.environment(),
            cwd="/",
            **server.user.switching(),
        )
        if done.returncode != 0:
            raise DevServerError(f"{Path(command[0]).name} failed:\n{done.stdout}")
        return str(done.stdout)

    def launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        server = self.server
        log = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self.lock.fd,),
                env=server.environment(),
                cwd="/",
                umask=0o077,
                start_new_session=True,
                **server.user.switching(),
            )
        finally:
            os.close(log)


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(2)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def command_line(pid: int) -> str:
    """The command line of a process; empty for a zombie and for none."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return done.stdout
    return ""


def tail(path: Path, lines: int = 20) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
