"""What the benchmarks share: a database of their own, interleaved rounds, and the table of results.

Run one as `make bench`, or `python -m spoke.devservers exec python benchmarks/NAME.py [--write]`, which
puts its section into RESULTS.md.
"""

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import environ
import psycopg
from psycopg.conninfo import make_conninfo

RESULTS = Path(__file__).with_name("RESULTS.md")


@contextmanager
def own_database(name: str) -> Iterator[str]:
    """A migrated database that is dropped at the end, with Django set up on it.

    Yields how its owner connects, for psycopg.
    """
    server, _, options = os.environ["DATABASE_URL"].partition("?")
    name = f"bench_{name}_{os.getpid()}"
    with psycopg.connect(_conninfo(server), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        own = f"{server.rpartition('/')[0]}/{name}"
        os.environ["DATABASE_URL"] = f"{own}?{options}" if options else own
        try:
            _set_up_django()
            yield _conninfo(own)
        finally:
            _drop(admin, name)


def _drop(admin: psycopg.Connection, name: str) -> None:
    for attempt in range(60):
        try:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        except psycopg.errors.InsufficientPrivilege:  # autovacuum is at work in it
            if attempt == 59:
                raise
            time.sleep(1)
        else:
            return


def _conninfo(url: str) -> str:
    # Sockets are written in django-environ's way, which is not libpq's.
    found = environ.Env.db_url_config(url)
    names = {
        "host": "HOST",
        "port": "PORT",
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
    }
    return make_conninfo(**{name: found[key] for name, key in names.items() if found.get(key)})


def _set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.DEBUG = False  # it would keep a list of every statement

    call_command("migrate", verbosity=0)
    call_command("seed_plans", verbosity=0)


def interleaved(
    variants: Mapping[str, Callable[[], int]], *, rounds: int = 7
) -> dict[str, list[float]]:
    """Operations a second of each variant in each round, after one round of warming up.

    A variant does its work once and says how many operations that were. The order turns from round
    to round, so that no variant always runs first.
    """
    rates: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            start = time.perf_counter()
            operations = variants[name]()
            elapsed = time.perf_counter() - start
            if number:
                rates[name].append(operations / elapsed)
    return rates


def ratio(rates: Mapping[str, list[float]], ours: str, peer: str) -> float:
    """The median over the rounds of ours to the peer's in the same round."""
    return median(a / b for a, b in zip(rates[ours], rates[peer], strict=True))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _circumstances() -> str:
    command = " ".join(["benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]])
    return (
        f"*{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), Python"
        f" {platform.python_version()}: `{command}`*"
    )


def report(title: str, text: str) -> None:
    """Prints a section, and with --write puts it into RESULTS.md in place of the one of that title."""
    section = f"## {title}\n\n{text.strip()}\n\n{_circumstances()}\n"
    print(section)
    if "--write" not in sys.argv:
        return
    old = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    new = pattern.sub(lambda _: section + "\n", old)
    if not pattern.search(old):
        new = f"{old.rstrip()}\n\n{section}"
    RESULTS.write_text(new.rstrip() + "\n")
