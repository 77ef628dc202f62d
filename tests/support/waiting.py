"""Who waits for whom in the test's own database; its cluster has those of other test processes too."""

from django.db import connection

from spoke.devservers.errors import wait_until

# Not by pg_stat_activity, which within a transaction stays as it was first read.
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted
AND (%(ms)s = 0 OR clock_timestamp() - waitstart > %(ms)s * interval '1 millisecond')
AND pid IN (SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE d.datname = current_database())
"""


def one_waits(*, milliseconds: int = 0) -> bool:
    """Whether one lock, within ten seconds, is waited for, and has been for so long."""
    return wait_until(lambda: _waiting(milliseconds) == 1, seconds=10)


def _waiting(milliseconds: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"ms": milliseconds})
        (count,) = cursor.fetchone()
        return int(count)
