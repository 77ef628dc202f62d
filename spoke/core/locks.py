"""Locks by name that last longer than a transaction, for work that is partly outside of one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from spoke.core.errors import Conflict


class LockedError(Conflict):
    """Somebody else holds the lock, and goes on holding it."""


@contextmanager
def held(name: str, *, wait: bool = True) -> Iterator[None]:
    """Only one process at a time is within, by name; the lock dies with the process's connection.

    Waits as long as the database's lock_timeout allows. Raises LockedError at once where `wait` is off.
    """
    with connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 1))", [name])
        else:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 1))", [name])
            if not cursor.fetchone()[0]:
                raise LockedError("The same is being done just now.", code="in_progress")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 1))", [name])
