"""Spoke as `make run` runs it, on servers of its own, each process of which can be killed."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import make_conninfo

from spoke.devservers.children import Leash
from spoke.devservers.errors import wait_until
from spoke.devservers.places import Instance
from spoke.devservers.server import Server
from spoke.devservers.services import SERVERS
from tests.support.running import ROOT, free_port

START_SECONDS = 60.0
PREPARE = """
import django
django.setup()
from django.core.management import call_command
from django.utils import timezone
from orgs.context import SYSTEM
from orgs.models import User
from orgs.roles import Scope
from orgs.services.tokens import create_personal_token
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from spoke.core import tenancy
from tests.factories import OrganizationFactory
call_command("migrate", verbosity=0)
call_command("seed_plans", verbosity=0)
now = timezone.now()
user = User.objects.create_user("owner@example.com")
with tenancy.all_organizations(reason="crash test"):
    for number in range({organizations}):
        org = OrganizationFactory(name=f"crash-{{number}}", owner=user)
        set_overrides(org_id=org.pk, actor=SYSTEM, now=now, limits={{Resource.API_REQUESTS: None}})
        print("org", org.pk)
    _, raw = create_personal_token(user=user, name="t", scopes=[Scope.ADMIN], now=now)
print("token", raw)
"""

# A third worker, never killed, that does at once what it is asked to, and says when it has.
CLERK = """
import sys
import django
django.setup()
from quotas import tasks
for _ in sys.stdin:
    try:
        print("done", tasks.flush_api_requests(), tasks.roll_up_events(), flush=True)
    except Exception as error:
        print("failed", repr(error), flush=True)
"""


class Clerk:
    """Flushes and rolls up, without waiting for a worker that is starting or reconnecting."""

    def __init__(self, env: dict[str, str], log: Path, leash: Leash) -> None:
        self.leash = leash
        with log.open("ab") as errors:
            self.child = subprocess.Popen(
                [sys.executable, "-c", CLERK],
                env=env,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        leash.tell("+", self.child.pid)

    def work(self) -> bool:
        """One flush of every shard and one rollup; says whether they succeeded."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("work\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        assert answer, "the clerk died"
        return answer.startswith("done")

    def end(self) -> None:
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()
        self.leash.tell("-", self.child.pid)


@dataclass
class Process:
    """A group of processes of Spoke, its log, and what says that it is up."""

    name: str
    command: list[str]
    env: dict[str, str]
    log: Path
    leash: Leash
    child: "subprocess.Popen[bytes] | None" = None
    # Where this life's lines of the log begin.
    born_at: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.born_at = log.tell()
            self.child = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.leash.tell("+", self.child.pid)

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def has_ended(self) -> bool:
        return self.child is not None and self.child.poll() is not None

    def said(self, words: bytes) -> bool:
        """Whether the log of this life has these words."""
        with self.log.open("rb") as log:
            log.seek(self.born_at)
            return words in log.read()

    def kill(self) -> None:
        """kill -9 of the whole group; returns when the leader is gone."""
        assert self.child is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        self.leash.tell("-", self.child.pid)

    def children(self) -> list[int]:
        """The processes that the leader started."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        pairs = (line.split() for line in listed.stdout.splitlines())
        return [int(child) for child, parent in pairs if int(parent) == self.pid]


@dataclass
class Machine:
    """Everything that runs."""

    folder: Path
    postgres: Server
    valkey: Server
    conninfo: str
    redis_url: str
    env: dict[str, str]
    port: int
    web: Process
    workers: list[Process]
    clerk: Clerk
    token: str
    org_ids: list[int] = field(default_factory=list)

    def kill_valkey(self) -> None:
        child = self.valkey.child
        assert child is not None
        child.kill()
        child.wait()

    def start(self, process: Process) -> None:
        """Again; the web server once the kernel has closed the dead processes' sockets."""
        if process is self.web:
            assert wait_until(self._port_is_free, seconds=START_SECONDS)
        process.start()

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
                probe.listen()
            except OSError:
                return False
            return True

    def web_is_up(self) -> bool:
        """The port answers for every one of the web server's processes that is alive."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def await_web(self) -> None:
        assert wait_until(self.web_is_up, seconds=START_SECONDS), "the web server does not start"

    def await_worker(self, worker: Process) -> None:
        ready = wait_until(lambda: worker.said(b" ready."), seconds=START_SECONDS)
        assert ready, f"{worker.name} does not start; see {worker.log}"

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`manage.py` with these arguments."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@contextlib.contextmanager
def running_machine(*, organizations: int) -> Iterator[Machine]:
    """Durable servers, the web server and two workers; all ended and deleted with the block.

    CRASH_LOGS names a folder that the logs are copied to at the end.
    """
    machine = None
    with running_servers() as (folder, servers, leash):
        try:
            machine = _prepared(folder, servers, leash, organizations)
            for process in (machine.web, *machine.workers):
                process.start()
            machine.await_web()
            for worker in machine.workers:
                machine.await_worker(worker)
            yield machine
        finally:
            if machine is not None:
                machine.clerk.end()
                for process in (machine.web, *machine.workers):
                    if process.child is not None:
                        process.kill()


@contextlib.contextmanager
def running_servers() -> Iterator[tuple[Path, list[Server], Leash]]:
    """A folder, durable servers in it, and the leash that ends them if this process dies."""
    folder = Path(tempfile.mkdtemp(prefix="spoke-crash-"))
    folder.chmod(0o755)  # PostgreSQL's own user passes through
    leash = Leash(ROOT, ())
    servers: list[Server] = []
    try:
        for service in SERVERS:
            instance = Instance.of(root=folder, service=service, kind="dev")
            instance.path("users.lock").touch()
            servers.append(SERVERS[service](instance))
            servers[-1].start()
            assert servers[-1].child is not None
            leash.tell("+", servers[-1].child.pid)
        yield folder, servers, leash
    finally:
        for server in reversed(servers):
            sockets = server.instance.sockets()
            server.stop(at_once=True)
            if sockets is not None:
                shutil.rmtree(sockets, ignore_errors=True)
        leash.let_go()
        if "CRASH_LOGS" in os.environ:
            shutil.copytree(
                folder,
                os.environ["CRASH_LOGS"],
                ignore=shutil.ignore_patterns(".local"),
                dirs_exist_ok=True,
            )
        shutil.rmtree(folder, ignore_errors=True)


def environment(folder: Path, servers: list[Server]) -> dict[str, str]:
    """What Spoke's processes need to work with these servers, and nothing of this process's."""
    postgres, valkey = servers
    clean = ("PYTEST", "COV", "SPOKE_", "DATABASE_", "QUOTA_", "CELERY")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(clean)},
        "DATABASE_URL": postgres.url(postgres.instance.sockets()),
        "REDIS_URL": valkey.url(valkey.instance.sockets()),
        "SPOKE_ENV": "development",
        "DJANGO_SETTINGS_MODULE": "spoke.settings",
        "EMAIL_URL": "memorymail://",
        "MAIL_DIR": str(folder / "mail"),
        "STORAGE_DIR": str(folder / "files"),
        "ANONYMOUS_RATE_LIMIT": "1000000/m",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def run_script(script: str, env: dict[str, str]) -> list[list[str]]:
    """The words of each line that a script of Python printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**env, "LOG_LEVEL": "ERROR"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def _prepared(folder: Path, servers: list[Server], leash: Leash, organizations: int) -> Machine:
    postgres, valkey = servers
    env = environment(folder, servers)
    told = run_script(PREPARE.format(organizations=organizations), env)
    port = free_port()
    return Machine(
        folder=folder,
        postgres=postgres,
        valkey=valkey,
        conninfo=conninfo_of(postgres),
        redis_url=env["REDIS_URL"],
        env=env,
        port=port,
        web=Process("web", _web(port), env, folder / "web.log", leash),
        workers=[
            Process(name, worker_command(name, "metering"), env, folder / f"{name}.log", leash)
            for name in ("worker-a", "worker-b")
        ],
        clerk=Clerk({**env, "LOG_LEVEL": "ERROR"}, folder / "clerk.log", leash),
        token=next(word[1] for word in told if word[0] == "token"),
        org_ids=[int(word[1]) for word in told if word[0] == "org"],
    )


def conninfo_of(postgres: Server) -> str:
    """How to reach the database as its owner."""
    return make_conninfo(host=str(postgres.instance.sockets()), user="spoke", dbname="spoke")


# As the supervisor of `make run` starts them.
def _web(port: int) -> list[str]:
    command = ["granian", "--interface", "wsgi", "spoke.wsgi:application", "--no-ws"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "2", "--blocking-threads", "4", "--backlog", "1024"]
    return [*command, "--respawn-failed-workers", "--workers-kill-timeout", "5"]


def worker_command(name: str, queues: str, module: str = "celery") -> list[str]:
    command = [module, "--quiet", "-A", "spoke", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "-Q", queues, "-n", f"{name}@%h", "--loglevel", "INFO"]
    return [*command, "--without-gossip", "--without-mingle"]
