"""`seed_plans`: publishes the plans and the meters of their files."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from quotas.services import plans
from quotas.services.meters import (
    METER_FILE,
    MeterDefinition,
    MeterFileError,
    read_meters,
    seed_meters,
)
from quotas.services.plan_file import PLAN_FILE, PlanFileError, read_plans


class Command(BaseCommand):
    """Publishes each plan whose definition changed as a new version. Safe to repeat, and at once."""

    help = "Publish quotas/plans.toml and quotas/meters.toml; what is unchanged is left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--file", type=Path, default=PLAN_FILE, help="another file of plans")
        parser.add_argument(
            "--meters-file", type=Path, default=METER_FILE, help="another file of meters"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would change")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            definitions = read_plans(options["file"])
            meters = read_meters(options["meters_file"])
        except (PlanFileError, MeterFileError) as exc:
            raise CommandError(str(exc)) from exc
        self.verbose = options["verbosity"] > 0
        with transaction.atomic():
            plans.lock_catalogue()
            for definition in definitions:
                self._seed(definition, options["dry_run"])
            self._seed_meters(meters, options["dry_run"])

    def _seed_meters(self, meters: list[MeterDefinition], dry_run: bool) -> None:
        try:
            lines = seed_meters(definitions=meters, dry_run=dry_run)
        except MeterFileError as exc:
            raise CommandError(str(exc)) from exc
        for line in lines:
            self._say(line)

    def _seed(self, definition: plans.PlanDefinition, dry_run: bool) -> None:
        changes = plans.changes_to(definition=definition)
        if changes == []:
            self._say(f"{definition.code}: unchanged")
            return
        if dry_run:
            self._say(f"{definition.code}: would publish a new version")
        else:
            plan = plans.publish_plan(definition=definition, now=timezone.now())
            self._say(f"{definition.code}: published version {plan.version}")
        for line in changes or []:
            self._say(f"  {line}")

    def _say(self, line: str) -> None:
        if self.verbose:
            self.stdout.write(line)
