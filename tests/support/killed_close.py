"""Closes one organization's period in a process of its own, which is killed at its n-th step.

`python -m tests.support.killed_close NOW ORG...`: the first organization's process dies at the first
step, the second one's at the second, and so on. A step is a request to Stripe, before it is sent and
after it was answered, or a transaction, before its commit and after. Prints how each process ended.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import django


def main() -> None:
    django.setup()
    now = datetime.fromisoformat(sys.argv[1])
    for number, org_id in enumerate(map(int, sys.argv[2:]), start=1):
        child = os.fork()
        if not child:
            close(org_id, now, die_at=number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{org_id} {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def close(org_id: int, now: datetime, *, die_at: int) -> None:
    """What the tasks do at the end of a period, for one organization."""
    from billing.models import Invoice
    from billing.services import invoicing, stripe_invoices
    from quotas.models import UsagePeriod
    from quotas.services.usage import close_period
    from spoke.core import tenancy

    with tenancy.organization(org_id):
        ended = list(UsagePeriod.objects.for_org(org_id).filter(end__lte=now).order_by("start"))
    install(die_at)
    for period in ended:
        with tenancy.organization(org_id):
            close_period(period_id=period.pk, org_id=org_id, now=now)
        with tenancy.organization(org_id):
            invoicing.draft_invoice(org_id=org_id, period_start=period.start, now=now)
        with tenancy.organization(org_id):
            rows = Invoice.objects.for_org(org_id).filter(source="usage", period_start=period.start)
            drafts = list(rows.filter(status="draft").values_list("pk", flat=True))
        for name in drafts:
            with tenancy.organization(org_id):
                invoicing.finalize_invoice(org_id=org_id, invoice_id=name, now=now)
            stripe_invoices.push_invoice(org_id=org_id, invoice_id=name, now=now)


def install(die_at: int) -> None:
    """Counts the steps, and dies at one."""
    from django.db.backends.postgresql.base import DatabaseWrapper

    from billing.stripe.client import GuardedClient

    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step()
            answer = wrapped(*args, **kwargs)
            step()
            return answer

        return call

    GuardedClient.request_with_retries = around(GuardedClient.request_with_retries)  # type: ignore[method-assign]
    DatabaseWrapper._commit = around(DatabaseWrapper._commit)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
