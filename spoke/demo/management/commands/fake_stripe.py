"""`manage.py fake_stripe`: the Stripe server of development: serve it, turn its clock, break cards."""

import logging
import re
import threading
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any
from urllib.error import URLError

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from billing import tasks
from billing.models import StripeCustomer
from quotas import tasks as quota_tasks
from spoke.core import tenancy
from spoke.demo.apps import DemoConfig
from spoke.devservers.stripe.control import Control
from spoke.devservers.stripe.server import Server
from spoke.devservers.stripe.store import Store

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
# Time passes in steps, so that drafts, retries and reminders happen in their order.
STEP = 43_200
# What beat would start meanwhile.
WORK = (
    quota_tasks.turn_due_periods,
    tasks.process_due_events,
    tasks.turn_due_subscriptions,
    tasks.draft_due_invoices,
    tasks.finalize_due_invoices,
    tasks.push_due_details,
    tasks.push_due_invoices,
    tasks.push_due_notes,
    tasks.retry_due_invoices,
    tasks.chase_overdue,
    tasks.warn_of_expiry,
)


class Command(BaseCommand):
    """Development only: none of this is there beside a real key."""

    help = "The Stripe server of development: serve it, turn its clock, break cards and webhooks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        serve = commands.add_parser("serve", help="as make run does")
        serve.add_argument("--port", type=int, required=True)
        serve.add_argument("--state", type=Path)
        advance = commands.add_parser("advance", help="turn its clock and ours on, as 31d or 12h")
        advance.add_argument("time")
        for name, says in (("fail-card", "declines"), ("fix-card", "pays again")):
            card = commands.add_parser(name, help=f"whatever ORG pays by {says} from now on")
            card.add_argument("org")
        drop = commands.add_parser("drop-webhooks", help="the next N events are not delivered")
        drop.add_argument("number", type=_natural)
        fault = commands.add_parser("fault", help="the next N requests meet with a fault")
        fault.add_argument("kind", choices=["429", "500", "timeout", "disconnect_after"])
        fault.add_argument("number", type=_natural, nargs="?", default=1)

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("This is for development.")
        if what == "serve":
            self._serve(options["port"], options["state"])
            return
        host = getattr(settings, "STRIPE_API_HOST", "")
        if not host.startswith("http://127.0.0.1:"):
            raise CommandError("There is no Stripe server of ours: start `make run` first.")
        try:
            self._control(Control(host), what, options)
        except URLError as error:
            raise CommandError(f"{host} does not answer: is `make run` running?") from error

    def _serve(self, port: int, state: Path | None) -> None:
        try:
            server = Server(Store(file=state), port)
        except (OSError, OverflowError) as error:
            raise CommandError(f"Port {port} cannot be listened on: {error}.") from error
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stdout.write(f"stands in for Stripe at {server.url}")
        self.stdout.flush()
        call_command("stripe_setup", stdout=self.stdout)
        self.stdout.flush()
        threading.Event().wait()

    def _control(self, control: Control, what: str, options: dict[str, Any]) -> None:
        if what == "advance":
            self._advance(control, options["time"])
        elif what in ("fail-card", "fix-card"):
            customer = _customer(options["org"])
            (control.fail_card if what == "fail-card" else control.fix_card)(customer)
        elif what == "drop-webhooks":
            control.drop_webhooks(options["number"])
        else:
            control.fault(options["kind"], times=options["number"])
        self.stdout.write(f"The clock shows {control.clock():%Y-%m-%d %H:%M} UTC.")

    def _advance(self, control: Control, time: str) -> None:
        matched = re.fullmatch(r"(\d{1,4})([dhms])", time)
        left = int(matched[1]) * UNITS[matched[2]] if matched else 0
        if not left:
            raise CommandError("How long? As 31d, 12h, 30m or 45s.")
        # What is done meanwhile is told by the worker's log as ever, and would drown the answer here.
        logging.getLogger().setLevel(logging.WARNING)
        while left > 0:
            step = min(STEP, left)
            left -= step
            if DemoConfig.clock is not None:
                DemoConfig.clock.turn(step)
            control.advance(seconds=step)
            control.deliver()
            for task in WORK:
                task()


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a number from 1 on, and not {text!r}")
    return int(text)


def _customer(name: str) -> str:
    with tenancy.all_organizations(reason="find whose card to break"):
        found = StripeCustomer.objects.filter(org__name=name)
        customer = found.values_list("stripe_id", flat=True).first()
    if customer is None:
        raise CommandError(f"{name} is no customer of Stripe's yet: subscribe first.")
    return customer
