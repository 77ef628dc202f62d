"""Invoices of many organizations at once, in a dozen statements whatever their number.

It writes what `invoicing.draft_invoice` and `finalize_invoice` would, line by line; tests hold both
against each other on random data. What does not fit a set (see `set_close_sql.PLAIN`) is left to them.
A batch is one transaction: killed anywhere it has written nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.conf import settings
from django.db import DataError, connection, transaction

from billing.models import BillingDetails
from billing.services import set_close_sql as sql
from billing.services.invoicing import LOOK_BACK
from billing.services.lines import DEFAULT_CURRENCY, ROUNDED_FOR_CARDS, overage_title
from billing.services.taxes import tax_for
from billing.services.totals import tax_title
from orgs.context import SYSTEM
from quotas.charges import explained
from quotas.models import PlanCharge
from quotas.resources import GAUGES, Resource
from spoke.core import tenancy
from spoke.core.money import exponent_of
from spoke.core.requestid import current_request_id

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Window:
    """The organizations whose ids are above `after`, up to and with `upto`; None: all that follow."""

    after: int
    upto: int | None


def window_after(after: int, *, now: datetime, most: int) -> Window:
    """The next `most` organizations in which a period ended lately, and all between them."""
    scope = tenancy.all_organizations(reason="find the periods of a batch")
    with scope, connection.cursor() as cursor:
        since = now - LOOK_BACK
        cursor.execute(sql.WINDOW, {"now": now, "since": since, "most": most, "after": after})
        found, last = cursor.fetchone()
    return Window(after, last if found == most else None)


def windows(*, now: datetime, most: int) -> Iterator[Window]:
    """All of them, one after another."""
    window = window_after(0, now=now, most=most)
    yield window
    while window.upto is not None:
        window = window_after(window.upto, now=now, most=most)
        yield window


def draft_window(window: Window, *, now: datetime) -> int:
    """Each organization has a draft of an ended period that is not closed yet.

    Of several such periods it is the earliest. Returns how many were drafted. Windows can be written
    side by side.
    """
    return _write(window, now=now, final=False)


def finalize_window(window: Window, *, now: datetime) -> int:
    """Each organization has the invoice of a closed period given out, or it is known to cost nothing.

    Of several such periods it is the earliest. Returns how many were written. Windows can be written
    side by side: numbers follow each other without a gap, since whoever takes some holds the sequence
    until the batch is committed.
    """
    return _write(window, now=now, final=True)


def _write(window: Window, *, now: datetime, final: bool) -> int:
    """The window is written, or left whole to the readable rules.

    Where the amounts of one organization are too large, they fail for that one alone.
    """
    try:
        return _write_all(window, now=now, final=final)
    except DataError as error:
        logger.error(
            "billing.batch_refused", after=window.after, upto=window.upto, cause=str(error)
        )
        return 0


def _write_all(window: Window, *, now: datetime, final: bool) -> int:
    scope = tenancy.all_organizations(reason="write the invoices of a batch of periods")
    with scope, transaction.atomic(), connection.cursor() as cursor:
        values: dict[str, Any] = {
            "now": now,
            "since": now - LOOK_BACK,
            "after": window.after,
            "upto": window.upto,
        }
        if not _stage(cursor, values, final=final):
            return 0
        _rate(cursor, now)
        return _keep(cursor, now=now, final=final)


def _stage(cursor: Any, values: dict[str, Any], *, final: bool) -> bool:
    """Locks the organizations, and looks again at what is due of them; says whether anything is."""
    due = sql.FINAL if final else sql.ENDED
    values |= {"default_currency": DEFAULT_CURRENCY, "rounded": list(ROUNDED_FOR_CARDS)}
    cursor.execute(sql.CANDIDATES.format(plain=sql.PLAIN.format(due=due, orgs=sql.WITHIN)), values)
    values["orgs"] = sorted(org_id for (org_id,) in cursor.fetchall())
    if not values["orgs"]:
        return False
    cursor.execute(sql.LOCK, values)
    # Whoever is held by somebody else is left for the next run.
    values["orgs"] = [org_id for (org_id,) in cursor.fetchall()]
    # The commit drops them too, but a caller's transaction may hold more than one batch.
    cursor.execute(sql.DROP)
    cursor.execute(sql.BATCH.format(plain=sql.PLAIN.format(due=due, orgs=sql.LOCKED)), values)
    found = bool(cursor.rowcount)
    cursor.execute("ANALYZE close_batch (org_id, plan_id, currency)")
    return found


def _rate(cursor: Any, now: datetime) -> None:
    """The lines and totals of the batch, by facts that few rows share and Python knows."""
    cursor.execute(sql.CHARGES)
    charges = PlanCharge.objects.in_bulk([charge_id for (charge_id,) in cursor.fetchall()])
    cursor.execute("SELECT DISTINCT currency FROM close_batch")
    currencies = [currency for (currency,) in cursor.fetchall()]
    cursor.execute(sql.BUYERS)
    buyers = cursor.fetchall()
    taxes = [
        tax_for(
            details=BillingDetails(
                country=country, state=state, tax_id_type=kind, tax_exempt=exempt
            ),
            on=day,
        )
        for country, state, kind, exempt, day in buyers
    ]
    columns = list(zip(*buyers, strict=True)) or [()] * 5
    values = {
        "charges": list(charges),
        "titles": [
            overage_title(Resource(row.resource), explained(row.definition))
            for row in charges.values()
        ],
        "currencies": currencies,
        "units": [Decimal(10) ** exponent_of(currency) for currency in currencies],
        **{
            name: list(column)
            for name, column in zip(
                ("countries", "states", "kinds", "exempt", "days"), columns, strict=True
            )
        },
        "names": [tax_title(tax) for tax in taxes],
        "rates": [tax.percentage for tax in taxes],
        "notes": [tax.note for tax in taxes],
        "gauges": sorted(gauge.value for gauge in GAUGES),
        "now": now,
    }
    for statement in sql.FACTS.split(";"):
        cursor.execute(statement, values)
    cursor.execute(sql.LINES, values)
    cursor.execute("ANALYZE close_line (invoice_id)")
    cursor.execute(sql.TOTALS)


def _keep(cursor: Any, *, now: datetime, final: bool) -> int:
    """Writes the batch; returns how many invoices it has."""
    values: dict[str, Any] = {
        "now": now,
        "due_at": now + timedelta(days=settings.INVOICE_DUE_DAYS),
        "actor": SYSTEM.label,
        "actor_kind": SYSTEM.kind,
        "request_id": current_request_id(),
        "seller": settings.INVOICE_SELLER,
        "year": now.year,
        "after": 0,
    }
    cursor.execute(sql.FORGET_LINES)
    cursor.execute(sql.KEEP_LINES)
    if final:
        # As late as can be: from here on nobody else takes a number.
        cursor.execute(sql.COUNT)
        (values["count"],) = cursor.fetchone()
        if values["count"]:
            cursor.execute(sql.TAKE_NUMBERS, values)
            values["after"] = cursor.fetchone()[0] - values["count"]
    cursor.execute(sql.INVOICES.format(final="TRUE" if final else "FALSE"), values)
    written = int(cursor.rowcount)
    cursor.execute(sql.UPDATE_DRAFTS, values)
    cursor.execute(sql.KEEP_INVOICES, values)
    cursor.execute(sql.AUDIT, values)
    logger.info("billing.batch_written", invoices=written, final=final)
    return written
