"""`manage.py stripe_setup`: Stripe has our prices and delivers to our webhook."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.stripe import client, setup
from spoke.core.errors import DomainError


class Command(BaseCommand):
    """Idempotent: run it after each change of plans, keys or address."""

    help = "Make Stripe's products, prices and webhook endpoint of our plans and address."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="where Stripe delivers; by default under SPOKE_BASE_URL")
        parser.add_argument(
            "--rotate", action="store_true", help="a new endpoint with a new signing secret"
        )

    def handle(self, *args: Any, url: str | None, rotate: bool, **options: Any) -> None:
        if not client.configured():
            raise CommandError("Set STRIPE_SECRET_KEY first.")
        url = url or f"{settings.SPOKE_BASE_URL}/billing/webhook"
        if not url.startswith(("https://", "http://")):
            raise CommandError(f"{url} is no address.")
        try:
            account = setup.check_account()
            prices = setup.make_prices()
            endpoint, made = setup.make_webhook(url=url, rotate=rotate)
        except DomainError as error:
            raise CommandError(f"Stripe: {error.detail}") from error
        mode = "live" if settings.STRIPE_LIVE_MODE else "test"
        self.stdout.write(f"Account {account} ({mode}): {prices} prices.")
        self.stdout.write(f"Webhook {endpoint} {'made' if made else 'kept'}: {url}")
