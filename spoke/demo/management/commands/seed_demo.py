"""`manage.py seed_demo`: two organizations, people and a year of usage and invoices to look at."""

import math
import os
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from spoke.core.locks import held
from spoke.demo.seeding import seed
from spoke.devservers.banner import read_env


class Command(BaseCommand):
    """Idempotent; two at once take turns."""

    help = "Seed the demo organizations and write .local/demo.env for scripts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--env-file", type=Path, default=settings.BASE_DIR / ".local" / "demo.env"
        )

    def handle(self, *args: Any, env_file: Path, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo's passwords are public: it is not for production.")
        with held("seed_demo", wait=math.inf):
            values = seed(known=read_env(env_file), now=timezone.now())
            try:
                write_env(env_file, values)
            except OSError as error:
                raise CommandError(f"{env_file} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"The demo is ready; {env_file} has its addresses and tokens.")


def write_env(path: Path, values: dict[str, str]) -> None:
    """Writes the file whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    new.write_text("".join(lines))
    new.replace(path)
