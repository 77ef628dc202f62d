"""`manage.py document_settings`: docs/configuration.md, from the table in spoke/environment.py."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

HEAD = """# Configuration

Everything comes from the environment. `manage.py document_settings` writes this page from the table in
`spoke/environment.py`; nothing else reads the environment.

| variable | kind | default | meaning |
|---|---|---|---|
"""
# What depends on the machine, or is long, is described instead.
DESCRIBED = {
    "SPOKE_SECRET_KEY": "for development only",
    "STORAGE_DIR": "`.local/files`",
    "MAIL_DIR": "`.local/mail`",
}


def page() -> str:
    """The whole page."""
    rows = []
    for name, (kind, default, meaning) in settings.VARIABLES.items():
        value = ",".join(default) if isinstance(default, list) else default
        shown = DESCRIBED.get(name) or (f"`{value}`" if value != "" else "empty")
        rows.append(f"| `{name}` | {kind.__name__} | {shown} | {meaning} |\n")
    return HEAD + "".join(rows)


class Command(BaseCommand):
    """Writes the page, or with --check says whether it is as it would be written."""

    help = "Write docs/configuration.md from the settings."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "configuration.md"
        if not check:
            path.write_text(page())
        elif path.read_text() != page():
            raise CommandError("docs/configuration.md is old: run manage.py document_settings")
