"""yank, unyank: versions that are passed over, and that count again."""

from typing import Any

import click

from spoke.cli.client import address
from spoke.cli.commands.places import named_version
from spoke.cli.running import Run, standard


@click.command()
@click.argument("reference", metavar="[ORG/]MODULE@VERSION")
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; shown to whoever names the version."
)
@standard
def yank(run: Run, reference: str, reason: str) -> None:
    """Have a version passed over.

    It can be read by its name as before, is never the latest, and nothing new can depend on it.
    """
    version = _change(run, reference, "yank", {"reason": reason} if reason else None)
    why = f": {reason}" if reason else ""
    run.out.tell(f"Yanked {reference.partition('@')[0]} {version['version']}{why}.")


@click.command()
@click.argument("reference", metavar="[ORG/]MODULE@VERSION")
@standard
def unyank(run: Run, reference: str) -> None:
    """Take a yank back."""
    version = _change(run, reference, "unyank", None)
    run.out.tell(f"{reference.partition('@')[0]} {version['version']} is not yanked.")


def _change(run: Run, text: str, action: str, wish: dict[str, str] | None) -> dict[str, Any]:
    with named_version(run, text) as place:
        version: dict[str, Any] = run.api.post(f"{place}{address(action)}", json=wish).body
    if run.out.as_json:
        run.out.document(version)
    return version
