"""Locks by name: who waits, for how long, and what is left of them."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection

from spoke.core.locks import LockedError, held
from spoke.devservers.errors import wait_until
from tests.support.waiting import one_waits

MINE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"

pytestmark = pytest.mark.django_db(transaction=True)


def read(sql: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


@contextmanager
def another(name: str, *, wait: float | None = None, timeout: str = "20ms") -> Iterator[list]:
    """A thread that takes the lock, with the database's own limit at `timeout`; what came of it."""
    came: list = []

    def take():
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET lock_timeout = '{timeout}'; SET statement_timeout = '{timeout}'"
                )
            with held(name, wait=wait):
                came.append(read(MINE)[0][0])
        except (LockedError, OperationalError) as error:
            came.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=take)
    thread.start()
    yield came
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("wait", [10, math.inf])
def test_waits_beyond_the_limit_of_the_database(wait):
    holder = held("a")
    holder.__enter__()
    with another("a", wait=wait) as came:
        assert one_waits(milliseconds=100)
        assert came == []
        holder.__exit__(None, None, None)
    assert came == [1]


def test_seconds_that_are_over():
    with held("a"), another("a", wait=0.05, timeout="10s") as came:
        assert wait_until(lambda: bool(came), seconds=10)
    assert isinstance(came[0], LockedError)
    assert (came[0].status, came[0].error_code) == (409, "in_progress")


def test_not_at_all():
    with held("a"), another("a", wait=0) as came:
        assert wait_until(lambda: bool(came), seconds=10)
    assert isinstance(came[0], LockedError)


def test_the_limit_of_the_database():
    with held("a"), another("a") as came:
        assert wait_until(lambda: bool(came), seconds=10)
    assert isinstance(came[0], OperationalError)


@pytest.mark.parametrize("wait", [None, 0, 1.5, math.inf])
def test_nothing_is_left_of_it(wait):
    before = read("SHOW lock_timeout"), read("SHOW statement_timeout")
    with held("a", wait=wait):
        assert read(MINE) == [(1,)]
        assert (read("SHOW lock_timeout"), read("SHOW statement_timeout")) == before
    assert read(MINE) == [(0,)]


def test_other_names_do_not_wait():
    with held("a"), another("b", wait=0) as came:
        assert wait_until(lambda: bool(came), seconds=10)
    assert came == [1]
