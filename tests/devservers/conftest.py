"""Processes that use the embedded servers, and a checkout of their own for each test."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from spoke.devservers.errors import wait_until
from spoke.devservers.places import Instance
from spoke.devservers.server import command_line

PROJECT = Path(__file__).resolve().parents[2]
# Attaches, says so, and stays until its stdin closes. The rest of the project is left out, as by
# `standalone`: loading it takes longer than attaching.
USER = """
import json, sys, types
from pathlib import Path
sys.modules["spoke"] = types.ModuleType("spoke")
sys.modules["spoke"].__path__ = ["spoke"]
from spoke.devservers import attach
urls = attach(root=Path(sys.argv[1]), ephemeral=sys.argv[2] == "ephemeral")
print(json.dumps([urls.database, urls.redis]), flush=True)
sys.stdin.read()
"""


def until(condition, what: str, seconds: float = 20) -> None:
    assert wait_until(condition, seconds=seconds), f"not within {seconds} s: {what}"


def clean_environment() -> dict[str, str]:
    """Without the URLs that the test run itself works with."""
    hidden = ("DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@dataclass
class User:
    """A process that holds the servers up."""

    process: subprocess.Popen[str]

    def urls(self) -> tuple[str, str]:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if readable else ""
        assert line, "the user's process said nothing"
        database, redis = json.loads(line)
        return database, redis

    def leave(self) -> None:
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.users: list[User] = []

    def user(self, kind: str = "dev", **environment: str) -> User:
        process = subprocess.Popen(
            [sys.executable, "-c", USER, str(self.root), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=clean_environment() | environment,
        )
        self.users.append(User(process))
        return self.users[-1]

    def instance(self, service: str) -> Instance:
        return Instance.of(root=self.root, service=service, kind="dev")

    def processes(self) -> list[int]:
        """Guardians and servers of this checkout."""
        marks = (f"{self.root}/", f"--root {self.root} ")
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        own = {os.getpid(), *(user.process.pid for user in self.users)}
        return [
            pid
            for pid in pids
            if pid not in own and any(mark in command_line(pid) for mark in marks)
        ]

    def guarded(self) -> list[str]:
        """The servers that run, by their guardians' command lines."""
        lines = [command_line(pid).split() for pid in self.processes()]
        return [line[line.index("--service") + 1] for line in lines if "--service" in line]

    def guardian(self, service: str) -> int:
        return int(self.instance(service).path("guardian.lock").read_text())

    def close(self) -> None:
        for user in self.users:
            if user.process.poll() is None:
                user.kill()
        for pid in self.processes():
            if "guardian" in command_line(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)  # no lingering
        until(lambda: not self.processes(), "every server stops after its last user")


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """Its folder can be reached by every user, as a checkout outside a home folder."""
    root = Path(tempfile.mkdtemp(prefix="spoke-test-", dir="/tmp"))
    root.chmod(0o755)
    here = Checkout(root)
    yield here
    here.close()
    shutil.rmtree(root)
