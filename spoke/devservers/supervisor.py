"""`make run`: the servers, the database's content, and web, worker and beat until Ctrl-C."""

import contextlib
import http.client
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .attach import ensure_env, keep_guarded, lease_descriptors
from .banner import banner
from .children import Child, Leash, Printer
from .errors import DevServerError
from .locks import FileLock
from .places import Instance
from .stripe_place import KEY, StripePlace

# Every queue of the settings' task routes: a worker consumes those it is told, and no others.
QUEUES = "default,email,metering,billing,compile"
SETUP_COMMANDS = ("migrate", "seed_plans", "seed_demo")
STOP_SECONDS = 15.0
UNREADY_SECONDS = 60.0
LOOK_AFTER_GUARDIANS_SECONDS = 2.0


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def from_environment(cls) -> "Address":
        text = os.environ.get("PORT") or "8000"
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise DevServerError(f"PORT must be a number from 1 to 65535, and is {text!r}")
        return cls(os.environ.get("HOST") or "127.0.0.1", int(text))

    @property
    def local(self) -> str:
        """The address to reach the server under from this machine."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = f"[{self.local}]" if ":" in self.local else self.local
        return f"http://{host}:{self.port}"

    def check_free(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
                probe.listen()
            except OSError as error:
                raise DevServerError(
                    f"cannot listen on {self.host}:{self.port} ({error.strerror});"
                    " stop what does, or choose another: PORT=8001 make run"
                ) from None


class Supervisor:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = Address.from_environment()
        self.printer = Printer()
        self.interrupts = 0
        self.children: list[Child] = []
        # Started by make: if that is killed, nobody is left to press Ctrl-C.
        self.parent = os.getppid() if "MAKELEVEL" in os.environ else None
        home = Instance.of(root=root, service="supervisor", kind="dev").home
        self.port_lock = FileLock(home / f"port-{self.address.port}.lock")
        self.setup_lock = FileLock(home / "setup.lock")
        self.beat_lock = FileLock(home / "beat.lock")
        self.schedule = home / "beat-schedule"
        self.metrics = home / f"metrics-{self.address.port}"
        self.stripe = StripePlace(root)

    def run(self) -> int:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, self._interrupt)
        self.address.check_free()
        if not self.port_lock.try_exclusive():
            raise DevServerError(f"another `make run` is starting on port {self.address.port}")
        self._set_environment()
        self.say("starting PostgreSQL and Valkey")
        ensure_env(root=self.root)
        if not self._set_up():
            return 0 if self.stopping else 1
        return self._supervise()

    @property
    def stopping(self) -> bool:
        orphaned = self.parent is not None and os.getppid() != self.parent
        return self.interrupts > 0 or self.printer.broken or orphaned

    def say(self, text: str) -> None:
        self.printer.line("run", 1, text)

    def _interrupt(self, number: int, frame: object) -> None:
        self.interrupts += 1

    def _set_environment(self) -> None:
        defaults = {
            "SPOKE_ENV": "development",
            "SPOKE_BASE_URL": self.address.url,
            "DJANGO_SETTINGS_MODULE": "spoke.settings",
            "PYTHONUNBUFFERED": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
            # Static files are served from where they are; nobody collects them here.
            "PYTHONWARNINGS": "ignore:No directory at:UserWarning",
        }
        self.stripe.forget_taken_port()
        for name, value in (defaults | self.stripe.environment()).items():
            os.environ.setdefault(name, value)
        # What an earlier run counted is not of this one.
        shutil.rmtree(self.metrics, ignore_errors=True)
        self.metrics.mkdir(parents=True)

    def _set_up(self) -> bool:
        """Bring the database's content up to date, one supervisor at a time."""
        self.setup_lock.exclusive(seconds=600)
        try:
            return all(self._manage(command) for command in SETUP_COMMANDS)
        finally:
            self.setup_lock.unlock()

    def _manage(self, command: str) -> bool:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "manage.py", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.root,
            start_new_session=True,
        )
        while True:
            try:
                output, _ = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if self.stopping:
                    process.terminate()
        if process.returncode == 0:
            self.say(f"{command} done in {time.monotonic() - began:.1f} s")
            return True
        if not self.stopping:
            self.printer.plain(output)
            self.say(f"manage.py {command} failed with status {process.returncode}; see above")
        return False

    def _processes(self) -> list[Child]:
        web = ["granian", "--interface", "wsgi", "spoke.wsgi:application", "--no-ws"]
        web += ["--host", self.address.host, "--port", str(self.address.port)]
        web += ["--workers", "2", "--blocking-threads", "4", "--backlog", "1024"]
        web += ["--respawn-failed-workers", "--workers-kill-timeout", "5"]
        worker = [
            "celery",
            "--quiet",
            "-A",
            "spoke",
            "worker",
            "--pool",
            "prefork",
            "--concurrency",
            "2",
        ]
        worker += ["-Q", QUEUES, "-n", f"run-{self.address.port}@%h", "--loglevel", "INFO"]
        worker += ["--without-gossip", "--without-mingle"]
        beat = ["celery", "--quiet", "-A", "spoke", "beat", "--loglevel", "INFO", "--pidfile="]
        beat += ["--schedule", str(self.schedule)]
        commands = {
            "web": (36, ["-m", *web]),
            "worker": (32, ["-m", *worker]),
            "beat": (35, ["-m", *beat]),
        }
        if os.environ.get("STRIPE_SECRET_KEY") == KEY:
            serve = ["manage.py", "fake_stripe", "serve", "--port", str(self.stripe.port())]
            commands["stripe"] = (34, [*serve, "--state", str(self.stripe.state)])
        return [
            Child(name, colour, [sys.executable, *command], root=self.root, env=os.environ)
            for name, (colour, command) in commands.items()
        ]

    def _supervise(self) -> int:
        selector = selectors.DefaultSelector()
        leash = Leash(self.root, lease_descriptors())
        self.children = self._processes()
        look_at = 0.0
        readiness = Readiness(self.address)
        sources = Sources(self.root) if os.environ.get("RELOAD") == "1" else None
        status = 0
        try:
            while not self.stopping and status == 0:
                self._start_due(selector, leash)
                self._pump(selector)
                status = self._reap(selector, leash)
                for text in readiness.news(self.root):
                    self.printer.plain(text)
                if sources is not None and sources.changed():
                    self._reload()
                if time.monotonic() > look_at:
                    look_at = time.monotonic() + LOOK_AFTER_GUARDIANS_SECONDS
                    keep_guarded()
        finally:
            self._stop(selector, leash)
        return status

    def _start_due(self, selector: selectors.BaseSelector, leash: Leash) -> None:
        for child in self.children:
            # One of these for all supervisors of the checkout; another takes over when it ends.
            shared = {"beat": self.beat_lock, "stripe": self.stripe.lock}.get(child.name)
            if child.due() and (shared is None or shared.try_exclusive()):
                child.start(selector, leash)

    def _pump(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(timeout=0.2):
            child: Child = key.data
            if not child.pump(self.printer) and child.process is not None:
                # Its output is closed, and it is about to end: no busy loop meanwhile.
                time.sleep(0.05)

    def _reap(self, selector: selectors.BaseSelector, leash: Leash) -> int:
        for child in self.children:
            status = child.ended(selector, leash, self.printer)
            if status is None:
                continue
            delay = child.plan_restart()
            how = f"killed by signal {-status}" if status < 0 else f"status {status}"
            if delay is None:
                self.say(f"{child.name} keeps failing ({how}); giving up. Its last lines:")
                for line in child.last_lines:
                    self.printer.plain(f"    {line}")
                return 1
            self.say(f"{child.name} ended ({how}); starting it again in {delay:g} s")
        return 0

    def _reload(self) -> None:
        self.say("the source has changed; starting web, worker and beat again")
        for child in self.children:
            child.failures = 0
            child.signal(signal.SIGTERM)

    def _stop(self, selector: selectors.BaseSelector, leash: Leash) -> None:
        """Ask, wait, kill; a second Ctrl-C kills at once."""
        asked = self.interrupts
        if any(child.process for child in self.children):
            self.say("stopping")
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(child.process for child in self.children):
            if time.monotonic() > deadline or self.interrupts > asked + 1:
                for child in self.children:
                    child.signal(signal.SIGKILL)
            self._pump(selector)
            for child in self.children:
                child.ended(selector, leash, self.printer)
        leash.let_go()
        self.say("stopped")


class Readiness:
    """Asks the web server for its health, beside the main loop, until it is ready once."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.ready = threading.Event()
        self.last = "no answer yet"
        self.warn_at = time.monotonic() + UNREADY_SECONDS
        self.announced = False
        threading.Thread(target=self._ask, daemon=True).start()

    def news(self, root: Path) -> list[str]:
        if self.announced:
            return []
        if self.ready.is_set():
            self.announced = True
            return banner(root, self.address.url)
        if time.monotonic() > self.warn_at:
            self.warn_at = time.monotonic() + UNREADY_SECONDS
            return [f"still not ready: GET {self.address.url}/health/ready: {self.last}"]
        return []

    def _ask(self) -> None:
        while not self.ready.wait(0.25):
            connection = http.client.HTTPConnection(
                self.address.local, self.address.port, timeout=5
            )
            try:
                connection.request("GET", "/health/ready")
                answer = connection.getresponse()
                self.last = f"{answer.status} {answer.read(500).decode(errors='replace')}"
                if answer.status == 200:
                    self.ready.set()
            except (OSError, http.client.HTTPException) as error:
                self.last = str(error)
            finally:
                connection.close()


class Sources:
    """Notices changed Python files and templates, for RELOAD=1."""

    EVERY_SECONDS = 1.0

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamp = self._look()
        self.look_at = time.monotonic() + self.EVERY_SECONDS

    def changed(self) -> bool:
        if time.monotonic() < self.look_at:
            return False
        self.look_at = time.monotonic() + self.EVERY_SECONDS
        before, self.stamp = self.stamp, self._look()
        return before != self.stamp

    def _look(self) -> dict[str, int]:
        stamp = {}
        for folder, folders, files in os.walk(self.root):  # Path.walk needs Python 3.12
            folders[:] = [f for f in folders if not f.startswith(".") and f != "tests"]
            for name in files:
                if name.endswith((".py", ".html", ".txt")):
                    path = Path(folder, name)
                    with contextlib.suppress(OSError):  # an editor's passing file
                        stamp[str(path)] = path.stat().st_mtime_ns
        return stamp
