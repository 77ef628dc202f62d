"""`make lint`: every static check, two at a time; the output of those that fail is shown whole."""

import difflib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .attach import ensure_env
from .errors import DevServerError

ROOT = Path(__file__).resolve().parents[2]
APPS = ("core", "orgs", "quotas", "registry", "billing")
MIGRATION_LINT = ("--no-cache", "--sql-analyser", "postgresql", "--quiet", "ignore", "ok")
AT_ONCE = min(4, os.cpu_count() or 2)
BIN = Path(sys.executable).parent


def run(*command: str) -> str:
    """What a failing command says; nothing if it succeeds."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout.strip() or f"status {done.returncode}"


def tool(name: str, *arguments: str) -> Callable[[], str]:
    return lambda: run(str(BIN / name), *arguments)


def manage(*arguments: str) -> Callable[[], str]:
    return lambda: run(sys.executable, "manage.py", *arguments)


def openapi() -> str:
    """The committed description is the one that the code generates, without a warning."""
    committed = ROOT / "openapi.yaml"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "openapi.yaml"
        options = ("--validate", "--fail-on-warn", "--file", str(file))
        failure = manage("spectacular", *options)()
        if failure:
            return failure
        new = file.read_text().splitlines()
    old = committed.read_text().splitlines() if committed.exists() else []
    lines = list(difflib.unified_diff(old, new, "openapi.yaml", "generated", lineterm="", n=2))
    if len(lines) > 60:
        lines = [*lines[:60], f"… and {len(lines) - 60} lines more"]
    return "\n".join([*lines, "`make openapi` writes it anew"]) if lines else ""


# The slowest first, so that the others run beside it.
CHECKS: dict[str, Callable[[], str]] = {
    "mypy": tool("mypy", "."),
    "openapi": openapi,
    "ruff check": tool("ruff", "check", "."),
    "ruff format": tool("ruff", "format", "--check", "."),
    "djlint": tool("djlint", "--lint", "templates"),
    "djlint format": tool("djlint", "--check", "templates"),
    "import-linter": tool("lint-imports"),
    "migrations complete": manage("makemigrations", "--check", "--dry-run"),
    "migrations safe": manage("lintmigrations", *MIGRATION_LINT, "--include-apps", *APPS),
}


def timed(check: Callable[[], str]) -> tuple[str, float]:
    began = time.monotonic()
    return check(), time.monotonic() - began


def main() -> int:
    # Django's commands want a database to look at, and here it is empty: no runtime role yet.
    ensure_env(root=ROOT, ephemeral=True)
    os.environ.setdefault("DATABASE_ROLE", "spoke")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    failures = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = {name: pool.submit(timed, check) for name, check in CHECKS.items()}
        for name, result in results.items():
            output, seconds = result.result()
            print(f"{'FAIL' if output else 'ok':<5}{name:<20}{seconds:6.1f} s", flush=True)
            if output:
                failures[name] = output
    for name, output in failures.items():
        print(f"\n=== {name} failed\n{output}")
    if failures:
        print(f"\n{len(failures)} of {len(CHECKS)} checks failed: {', '.join(failures)}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DevServerError as problem:
        print(f"spoke: {problem}", file=sys.stderr)
        sys.exit(1)
