"""`python -m spoke.devservers`: the servers from a shell, and the supervisor of `make run`."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

from .attach import attach, ensure_env
from .banner import read_env
from .binaries import find_postgres
from .errors import DevServerError, wait_until
from .locks import FileLock, is_held
from .places import Instance, ServerUser
from .services import SERVERS
from .stripe_place import StripePlace

ROOT = Path(__file__).resolve().parents[2]


def urls() -> int:
    """Lines for `export`. They hold while somebody uses the servers."""
    found = attach(root=ROOT)
    print(f"DATABASE_URL={found.database}\nREDIS_URL={found.redis}")
    return 0


def psql(arguments: list[str]) -> int:
    url = attach(root=ROOT).database
    program = shutil.which("psql")
    with contextlib.suppress(DevServerError):
        spare = Instance.of(root=ROOT, service="postgres", kind="dev").home.parents[1] / "packages"
        beside = find_postgres(ServerUser.current(), spare=spare) / "psql"
        program = str(beside) if beside.exists() else program
    if program is None:
        raise DevServerError("no psql found")
    credentials, socket_form, rest = url.partition("@//")
    if socket_form:  # django-environ's form of a socket is not libpq's
        folder, _, name = rest.rpartition("/")
        user = credentials.partition("://")[2]
        target = ["-h", f"/{folder}", "-U", user, "-d", name]
    else:
        target = ["-d", url]
    # A child, not an exec: this process holds the servers up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.spawnv(os.P_WAIT, program, [program, *target, *arguments])


def run_command(arguments: list[str], *, ephemeral: bool) -> int:
    """A command with DATABASE_URL and REDIS_URL set; its exit status is ours."""
    if not arguments:
        raise DevServerError("which command?")
    ensure_env(root=ROOT, ephemeral=ephemeral)
    if not ephemeral:
        # Links and webhooks lead to the `make run` of this checkout, whatever its port.
        base = read_env(ROOT / ".local" / "demo.env").get("API_URL")
        address = {"SPOKE_BASE_URL": base} if base else {}
        for name, value in {**StripePlace(ROOT).environment(), **address}.items():
            os.environ.setdefault(name, value)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's to handle
    status = os.spawnvp(os.P_WAIT, arguments[0], arguments)
    return status if status >= 0 else 128 - status


def _is_free(path: Path) -> bool:
    return not is_held(path)


def stop() -> int:
    """Stop the checkout's servers, even under those who use them."""
    for service, kind in SERVERS.items():
        instance = Instance.of(root=ROOT, service=service, kind="dev")
        guardian = instance.path("guardian.lock")
        if is_held(guardian):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(guardian.read_text()), signal.SIGTERM)
            stopped = wait_until(partial(_is_free, guardian), seconds=30)
            print(f"{service}: {'stopped' if stopped else 'still stopping'}")
        elif is_held(instance.path("alive.lock")):
            lock = FileLock(guardian)
            lock.exclusive(seconds=10)
            kind(instance).stop()
            lock.close()
            print(f"{service}: stopped")
        else:
            print(f"{service}: not running")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m spoke.devservers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="everything, until Ctrl-C (PORT, HOST, RELOAD=1)")
    commands.add_parser("urls", help="print the servers' URLs")
    commands.add_parser("stop", help="stop the servers")
    commands.add_parser("psql", help="a database shell; further options are psql's")
    with_urls = commands.add_parser("exec", help="run a command with the servers' URLs set")
    with_urls.add_argument("--ephemeral", action="store_true", help="on servers of its own")
    with_urls.add_argument("arguments", nargs=argparse.REMAINDER)
    options, others = parser.parse_known_args()
    if others and options.command != "psql":
        parser.error(f"unknown: {' '.join(others)}")
    if options.command == "run":
        from .supervisor import Supervisor  # noqa: PLC0415  # the others need not load it

        return Supervisor(ROOT).run()
    if options.command == "psql":
        return psql(others)
    if options.command == "exec":
        command = options.arguments
        command = command[1:] if command[:1] == ["--"] else command
        return run_command(command, ephemeral=options.ephemeral)
    return stop() if options.command == "stop" else urls()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DevServerError as problem:
        print(f"spoke: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
