"""The parts of `make run`: restarts, the leash on its children, and what it says."""

import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoke.devservers.banner import banner, read_env
from spoke.devservers.children import BACKOFF_SECONDS, Child, Leash, Printer
from spoke.devservers.errors import DevServerError
from spoke.devservers.server import command_line
from spoke.devservers.supervisor import QUEUES, Address, Sources

from .conftest import PROJECT, until


def gone(pid: int) -> bool:
    return command_line(pid) == ""


def test_a_killed_supervisor_takes_its_children_along() -> None:
    """The child's own child ends as well: the whole group is stopped."""
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True);"
    supervisor = f"""
import os, selectors, sys
from pathlib import Path
from spoke.devservers.children import Child, Leash
leash = Leash(Path("."), ())
command = [sys.executable, "-c", {script + "import time; time.sleep(600)"!r}]
child = Child("sleeper", 31, command, root=Path("."), env=os.environ)
child.start(selectors.DefaultSelector(), leash)
os.set_blocking(child.process.stdout.fileno(), True)
print(child.process.pid, child.process.stdout.readline().decode(), flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", supervisor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: all(map(gone, pids)), "the children end")


def test_a_failing_child_is_given_up_after_its_last_attempt(tmp_path: Path, capfd) -> None:
    leash, selector, printer = Leash(tmp_path, ()), selectors.DefaultSelector(), Printer()
    command = [sys.executable, "-c", "print('about to fail'); raise SystemExit(3)"]
    child = Child("web", 36, command, root=tmp_path, env=os.environ)
    child.start(selector, leash)
    statuses: list[int] = []

    def has_ended() -> bool:
        status = child.ended(selector, leash, printer)
        if status is not None:
            statuses.append(status)
        return bool(statuses)

    until(has_ended, "the child ends")
    assert statuses == [3]
    assert list(child.last_lines) == ["about to fail"]
    assert [child.plan_restart() for _ in range(6)] == [*BACKOFF_SECONDS, None]
    leash.let_go()
    assert capfd.readouterr().out == "web    | about to fail\n"


def test_a_taken_port_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.delenv("HOST", raising=False)
        address = Address.from_environment()
        assert address.url == f"http://127.0.0.1:{port}"
        with pytest.raises(DevServerError, match=f"cannot listen on 127.0.0.1:{port}"):
            address.check_free()
    address.check_free()


@pytest.mark.parametrize("port", ["abc", "-1", "0", "65536", "8000x"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("PORT", port)
    with pytest.raises(DevServerError, match="PORT must be a number from 1 to 65535"):
        Address.from_environment()


def test_a_wildcard_address_is_reached_over_loopback() -> None:
    assert Address("0.0.0.0", 8000).url == "http://127.0.0.1:8000"
    assert Address("::", 8000).url == "http://[::1]:8000"


def test_the_banner_shows_logins_and_a_ready_request(tmp_path: Path) -> None:
    folder = tmp_path / ".local"
    folder.mkdir()
    (folder / "demo.env").write_text(
        "# comment\nexport TOKEN='spk_1'\nORG_ID=7\nADMIN_LOGIN=a@example.com\nADMIN_PASSWORD=pw\n"
    )
    assert read_env(folder / "demo.env")["TOKEN"] == "spk_1"
    lines = banner(tmp_path, "http://127.0.0.1:8001")
    assert "  Login (admin)       a@example.com  pw" in lines
    request = "curl -H 'Authorization: Bearer spk_1' http://127.0.0.1:8001/orgs/7/usage"
    assert f"  {request}" in lines


def test_the_banner_needs_no_demo(tmp_path: Path) -> None:
    assert "  Sign in             http://x/accounts/login/" in banner(tmp_path, "http://x")


def test_changed_sources_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sources, "EVERY_SECONDS", 0)
    (tmp_path / "a.py").write_text("")
    sources = Sources(tmp_path)
    assert not sources.changed()
    (tmp_path / "b.html").write_text("")
    assert sources.changed()
    assert not sources.changed()


def test_the_worker_consumes_every_queue_of_the_settings() -> None:
    from django.conf import settings

    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    assert routed | {settings.CELERY_TASK_DEFAULT_QUEUE} <= set(QUEUES.split(","))
