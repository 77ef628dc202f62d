"""`usage`: proves that the rolled up figures are those of the events, or makes them so."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orgs.models import Organization
from quotas.models import Meter
from quotas.services import levels, rollups
from spoke.core import tenancy


class Command(BaseCommand):
    """`usage verify` ends with status 1 and a list of differences when there are any."""

    help = "Verify rolled up usage against the events it was made of, or rebuild it from them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["verify", "rebuild"])
        parser.add_argument("--org", help="only this organization, by number or name")

    def handle(self, *args: Any, **options: Any) -> None:
        org_id = None if options["org"] is None else self._org_id(options["org"])
        if options["action"] == "rebuild":
            number = rollups.rebuild(now=timezone.now(), org_id=org_id)
            self.stdout.write(f"rebuilt from {number} events")
            return
        found = rollups.verify(org_id=org_id)
        codes = dict(Meter.objects.values_list("pk", "code"))
        for row in found:
            self.stdout.write(
                f"organization {row.org_id} {codes.get(row.meter_id, row.meter_id)} {row.span}"
                f" {row.start:%Y-%m-%dT%H:%M}Z: events say {row.events_say or 'nothing'},"
                f" stored is {row.stored or 'nothing'}"
            )
        with tenancy.all_organizations(reason="verify integrals"):
            wrong = levels.wrong_integrals(org_id=org_id)
        for change in wrong:
            self.stdout.write(
                f"organization {change.org_id} {change.resource} {change.at:%Y-%m-%dT%H:%M:%S.%f}Z:"
                f" the changes add up to {change.expected}, stored is {change.stored}"
            )
        if found or wrong:
            raise CommandError(
                f"{len(found) + len(wrong)} differences (at most 100 of a kind are listed)"
            )
        self.stdout.write(
            "rolled up usage is what the events say, integrals what their changes say"
        )

    def _org_id(self, ref: str) -> int:
        key = {"pk": int(ref)} if ref.isdecimal() else {"name": ref}
        with tenancy.all_organizations(reason="usage command"):
            org = Organization.objects.filter(**key).first()
        if org is None:
            raise CommandError(f"there is no organization {ref}")
        return int(org.pk)
