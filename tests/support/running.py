"""Spoke as a process of its own, for tests that drive it from outside."""

import contextlib
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spoke.devservers.errors import wait_until
from spoke.devservers.supervisor import QUEUES

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass(frozen=True)
class Place:
    """A copy of Spoke, and the Python that runs it."""

    folder: Path = ROOT
    python: str = sys.executable


HERE = Place()


@contextlib.contextmanager
def process(
    command: list[str], env: Mapping[str, str], place: Place = HERE
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process of Spoke's Python that is ended with its block."""
    child = subprocess.Popen(
        [place.python, "-m", *command], env=dict(env), cwd=place.folder, start_new_session=True
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def running_web(
    *, port: int, env: Mapping[str, str], workers: int = 2, place: Place = HERE
) -> Iterator[str]:
    """The web server on a port of 127.0.0.1; yields its address once it is ready."""
    command = ["granian", "--interface", "wsgi", "spoke.wsgi:application", "--no-ws"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    command += ["--blocking-threads", "4"]
    url = f"http://127.0.0.1:{port}"
    with process(command, env, place) as child:
        ready = wait_until(
            lambda: child.poll() is not None or _answers(f"{url}/health/ready"), seconds=60
        )
        assert ready, "the web server was not ready within 60 seconds"
        assert child.poll() is None, "the web server ended while starting"
        yield url


# All queues, on one thread.
WORKER = ["celery", "--quiet", "-A", "spoke", "worker", "--pool", "solo", "--loglevel", "WARNING"]
WORKER += ["-Q", QUEUES, "--without-gossip", "--without-mingle"]
