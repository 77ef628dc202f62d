"""usage."""

from typing import Any

import click
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spoke.cli.client import address
from spoke.cli.errors import Refused
from spoke.cli.output import add, moment, money, sheet, size
from spoke.cli.running import Run, standard

BAR_WIDTH = 30
HIGH, FULL = 80.0, 100.0  # percent, as the alerts' defaults
LABELS = {
    "modules": "Modules",
    "versions": "Versions, fullest module",
    "storage": "Storage",
    "compile_jobs": "Compile jobs, this period",
    "api_requests": "API requests, last 60 min",
}


@click.command()
@standard
def usage(run: Run) -> None:
    """Show what is used of each limit, and what the period costs so far."""
    org = run.organization()
    used = run.api.get(address("orgs", org, "usage"))
    upcoming = _upcoming(run, org)
    if run.out.as_json:
        run.out.document({"organization": org, "usage": used, "upcoming": upcoming})
        return
    run.out.print(f"{org}, {moment(used['period_start'])} to {moment(used['period_end'])}")
    run.out.print(_bars(used["resources"]))
    if upcoming is None:
        run.out.tell("What it costs is for owners and admins to see.")
    else:
        run.out.print(_costs(upcoming))


def _upcoming(run: Run, org: str) -> dict[str, Any] | None:
    """What the period comes to; None for those who may not know."""
    try:
        found: dict[str, Any] = run.api.get(address("orgs", org, "invoices", "upcoming"))
    except Refused as exc:
        if exc.status == 403:
            return None
        raise
    return found


def _bars(resources: list[dict[str, Any]]) -> Table:
    rows = sheet(4, right=(2, 3))
    for row in resources:
        amount = size if row["resource"] == "storage" else "{:,}".format
        used = "?" if row["used"] is None else amount(row["used"])
        limit = "no limit" if row["limit"] is None else f"of {amount(row['limit'])}"
        label = LABELS.get(row["resource"], row["resource"])
        percent = row["percent"]
        share = Text("" if percent is None else f"{percent:.0f}%", style=_colour(percent))
        add(rows, label, _bar(percent), share, f"{used} {limit}")
    return rows


def _bar(percent: float | None) -> ProgressBar | Text:
    if percent is None:
        return Text("")
    style = _colour(percent)
    return ProgressBar(
        total=100,
        completed=min(percent, 100),
        width=BAR_WIDTH,
        complete_style=style,
        finished_style=style,
    )


def _colour(percent: float | None) -> str:
    if percent is None or percent < HIGH:
        return "green"
    return "yellow" if percent < FULL else "red"


def _costs(upcoming: dict[str, Any]) -> Table:
    rows = sheet(2, right=(1,))
    add(rows, "", "")
    for line in upcoming["lines"]:
        add(rows, line["description"], money(line["amount_cents"], upcoming["currency"]))
    if upcoming.get("tax_cents"):
        add(rows, "Tax", money(upcoming["tax_cents"], upcoming["currency"]))
    total = money(upcoming["amount_cents"], upcoming["currency"])
    add(rows, Text("So far this period", style="bold"), Text(total, style="bold"))
    return rows
