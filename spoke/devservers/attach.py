"""Using the servers: find them running or have them started, and count as a user until exit."""

import atexit
import contextlib
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from .errors import DevServerError, wait_until
from .locks import FileLock, is_held
from .places import Instance
from .server import START_SECONDS
from .services import SERVERS, VARIABLES
from .standalone import standalone

# Another's cold start, or a stop that is under way, may have to be waited for.
WAIT_SECONDS = 2 * START_SECONDS
MOST_TEST_RUNS = 64


@dataclass(frozen=True)
class Urls:
    database: str
    redis: str


@dataclass
class Lease:
    """The right to use one server. It ends when the process does, however that happens."""

    instance: Instance
    users: FileLock
    owner: int

    @classmethod
    def take(cls, *, root: Path, service: str, ephemeral: bool) -> "Lease":
        if ephemeral:
            return cls._take_unused(root, service)
        instance = Instance.of(root=root, service=service, kind="dev")
        while True:
            users = FileLock(instance.path("users.lock"))
            users.shared(seconds=WAIT_SECONDS)
            if users.in_place():
                return cls(instance, users, os.getpid())
            users.close()

    @classmethod
    def _take_unused(cls, root: Path, service: str) -> "Lease":
        """Servers that no other test run uses: each run has its own."""
        for number in range(MOST_TEST_RUNS):
            instance = Instance.of(root=root, service=service, kind=f"test-{number}")
            users = FileLock(instance.path("users.lock"))
            stopping = is_held(instance.path("guardian.lock"))
            if not stopping and users.try_exclusive() and users.in_place():
                return cls(instance, users, os.getpid())
            users.close()
        raise DevServerError(f"{MOST_TEST_RUNS} test runs at once?")

    def bring_up(self) -> str:
        """Return the server's URL once it answers."""
        starter = FileLock(self.instance.path("starter.lock"))
        try:
            starter.exclusive(seconds=WAIT_SECONDS)
            if not wait_until(self._is_up, seconds=WAIT_SECONDS):
                raise DevServerError(
                    f"the {self.instance.service} server does not answer; see {self.instance.log}"
                )
        finally:
            starter.close()
        sockets = self.instance.sockets()
        assert sockets is not None
        return SERVERS[self.instance.service].url(sockets)

    def ensure_guardian(self) -> bool:
        """True if there is one already; otherwise start it and wait for its report."""
        lock = FileLock(self.instance.path("guardian.lock"))
        try:
            if not lock.try_exclusive():
                return True
            report = self._start_guardian(lock)
        finally:
            lock.close()
        if not report.startswith("ok"):
            text = report.removeprefix("error ") or f"its guardian died; see {self.instance.log}"
            raise DevServerError(text)
        return False

    def _is_up(self) -> bool:
        if not self.ensure_guardian():
            return True
        sockets = self.instance.sockets()
        return sockets is not None and SERVERS[self.instance.service].answers(sockets)

    def _start_guardian(self, lock: FileLock) -> str:
        """Hand it the lock that we hold, and read what it has to say."""
        reading, writing = os.pipe()
        instance = self.instance
        command = [
            *standalone("guardian"),
            "--root",
            str(instance.root),
            "--home",
            str(instance.home),
        ]
        command += ["--service", instance.service, "--kind", instance.kind]
        command += ["--lock", str(lock.fd), "--report", str(writing)]
        log = os.open(instance.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fd, writing),
                env=_guardian_environment(),
                cwd="/",
                start_new_session=True,  # Ctrl-C is not for it
                check=False,
            )
        finally:
            os.close(log)
            os.close(writing)
        with os.fdopen(reading) as stream:
            return stream.read()


_leases: dict[tuple[Path, bool, str], tuple[Lease, str]] = {}
_one_at_a_time = threading.Lock()


def attach(*, root: Path, ephemeral: bool = False) -> Urls:
    """URLs of PostgreSQL and Valkey that answer, ours to use for the life of this process.

    A URL in the environment wins, each on its own. `ephemeral`: servers of this process and its
    children alone, which forget everything afterwards; without, those of the checkout at `root`.
    """
    root = root.resolve()
    with _one_at_a_time:
        return Urls(
            database=_url(root, "postgres", ephemeral), redis=_url(root, "valkey", ephemeral)
        )


def ensure_env(*, root: Path, ephemeral: bool = False) -> None:
    """Set DATABASE_URL and REDIS_URL where unset, for Django and for every child process."""
    urls = attach(root=root, ephemeral=ephemeral)
    os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = urls.database, urls.redis


def lease_descriptors() -> tuple[int, ...]:
    """Descriptors that keep the servers up for a child that inherits them."""
    return tuple(lease.users.fd for lease, _ in _leases.values())


def _url(root: Path, service: str, ephemeral: bool) -> str:
    given = os.environ.get(VARIABLES[service])
    if given:
        return given
    key = (root, ephemeral, service)
    if key not in _leases:
        lease = Lease.take(root=root, service=service, ephemeral=ephemeral)
        try:
            _leases[key] = (lease, lease.bring_up())
        except BaseException:
            lease.users.close()
            raise
    return _leases[key][1]


@atexit.register
def keep_guarded() -> None:
    """If somebody killed a guardian, start another: it restarts the server, or stops it at the end.

    At exit, because the server would outlive its users otherwise.
    """
    for lease, _ in _leases.values():
        if lease.owner == os.getpid():
            with contextlib.suppress(DevServerError, OSError, RuntimeError):
                lease.ensure_guardian()


def _guardian_environment() -> dict[str, str]:
    """What a long-lived process needs, and no secrets or coverage hooks of whoever came first."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_STATE_HOME", "LD_LIBRARY_PATH", "PYTHONPATH")
    return {name: os.environ[name] for name in keep if name in os.environ}
