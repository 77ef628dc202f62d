"""Gives out invoices by the set in processes of their own, each killed at a later statement.

`python -m tests.support.killed_set NOW`: the first process dies before its first statement, the second
before its second, and so on, until one comes to its end. Prints how many died, and after each death how
many invoices have a number.
"""

import os
import signal
import sys
from datetime import datetime
from typing import Any

import django


def main() -> None:
    django.setup()
    now, deaths = datetime.fromisoformat(sys.argv[1]), 0
    while True:
        child = os.fork()
        if not child:
            give_out(now, die_at=deaths + 1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            sys.stdout.write(f"ended {code}\n")
            return
        deaths += 1
        sys.stdout.write(f"died {numbered()}\n")


def give_out(now: datetime, *, die_at: int) -> None:
    from django.db import connection

    from billing.services.set_close import finalize_window, windows
    from quotas.services.period_close import close_periods

    done = 0

    def step(execute: Any, *call: Any) -> Any:
        nonlocal done
        done += 1
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*call)

    with connection.execute_wrapper(step):
        while close_periods(now=now, most=100):
            pass
        for window in windows(now=now, most=100):
            finalize_window(window, now=now)


def numbered() -> int:
    """How many invoices have a number; the connection is closed, so that no child shares it."""
    from django.db import connection

    from billing.models import Invoice
    from spoke.core import tenancy

    with tenancy.all_organizations(reason="test"):
        found = Invoice.objects.filter(number__isnull=False).count()
    connection.close()
    return found


if __name__ == "__main__":
    main()
