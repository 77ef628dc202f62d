"""`manage.py stripe_mirror`: everything at Stripe is fetched into dj-stripe's tables."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.stripe.mirror import mirror_everything


class Command(BaseCommand):
    """`djstripe_sync_models` of the kinds that staff look things up in."""

    help = "Fetch everything at Stripe into the mirror, or the kinds named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kinds", nargs="*", help="as Customer, Subscription, Invoice")

    def handle(self, *args: Any, kinds: list[str], **options: Any) -> None:
        mirror_everything(kinds=kinds)
