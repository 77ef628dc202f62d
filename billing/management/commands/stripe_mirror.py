"""`manage.py stripe_mirror`: everything at Stripe is fetched into dj-stripe's tables."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.stripe import client
from billing.stripe.mirror import mirror_everything


class Command(BaseCommand):
    """`djstripe_sync_models` of the kinds that staff look things up in."""

    help = "Fetch everything at Stripe into the mirror, or the kinds named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kinds", nargs="*", help="as Customer, Subscription, Invoice")

    def handle(self, *args: Any, kinds: list[str], **options: Any) -> None:
        if not client.configured():
            raise CommandError("Set STRIPE_SECRET_KEY first.")
        mirror_everything(kinds=kinds)
