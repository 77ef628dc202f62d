"""Locks by name that last longer than a transaction, for work that is partly outside of one."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from spoke.core.errors import Conflict

# As the statement's own transaction, or put back at once where there is one around it.
WAIT = """
SELECT set_config('lock_timeout', %(lock)s, true), set_config('statement_timeout', '0', true);
SELECT pg_advisory_lock(hashtextextended(%(name)s, 1));
SET LOCAL lock_timeout TO DEFAULT;
SET LOCAL statement_timeout TO DEFAULT
"""


class LockedError(Conflict):
    """Somebody else holds the lock, and goes on holding it."""

    def __init__(self) -> None:
        super().__init__(
            "Something else is being done with it just now.",
            code="in_progress",
            headers={"Retry-After": "1"},
        )


@contextmanager
def held(name: str, *, wait: float | None = None) -> Iterator[None]:
    """Only one process at a time is within, by name; the lock dies with the process's connection.

    `wait` is in seconds: 0 is not at all, infinity as long as it takes, None as long as the database's
    lock_timeout allows, which raises OperationalError. Raises LockedError once the seconds are over.
    """
    _take(name, wait)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 1))", [name])


def _take(name: str, wait: float | None) -> None:
    with connection.cursor() as cursor:
        if wait is None:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 1))", [name])
        elif wait == 0:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 1))", [name])
            if not cursor.fetchone()[0]:
                raise LockedError
        else:
            limit = 0 if wait == math.inf else math.ceil(wait * 1000)
            try:
                cursor.execute(WAIT, {"lock": f"{limit}ms", "name": name})
            except OperationalError as error:
                if isinstance(error.__cause__, LockNotAvailable):
                    raise LockedError from error
                raise
