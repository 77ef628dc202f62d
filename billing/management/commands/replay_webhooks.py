"""`manage.py replay_webhooks`: events that failed are tried again."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.models import EventStatus, WebhookEvent
from billing.services import inbox
from billing.stripe import client
from spoke.core.errors import DomainError


class Command(BaseCommand):
    """Of dead letters, unless events are named. Safe to repeat: what is done stays done."""

    help = "Try dead letters of Stripe's webhook again, or the events named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("events", nargs="*", help="ids of Stripe's, as evt_…")
        parser.add_argument("--sweep", action="store_true", help="first fetch what was missed")

    def handle(self, *args: Any, events: list[str], sweep: bool, **options: Any) -> None:
        if not client.configured():
            raise CommandError("Set STRIPE_SECRET_KEY first.")
        now = timezone.now()
        if sweep:
            self._sweep(now)
        rows = WebhookEvent.objects.order_by("created_at")
        rows = rows.filter(event_id__in=events) if events else rows.filter(status=EventStatus.DEAD)
        if missing := set(events) - {row.event_id for row in rows}:
            raise CommandError(f"There is no event {', '.join(sorted(missing))}.")
        done = failed = 0
        for row in rows:
            inbox.replay(event_id=row.pk, now=now)
        for name in [row.pk for row in rows.all()] if events else inbox.due_events(now=now):
            if inbox.process(event_id=name, now=now):
                done += 1
            else:
                failed += 1
        self.stdout.write(f"{done} events done, {failed} not.")
        if failed:
            raise CommandError("The admin says of each why: Webhook events.")

    def _sweep(self, now: datetime) -> None:
        try:
            self.stdout.write(f"{len(inbox.sweep(now=now))} events were missed.")
        except DomainError as error:
            raise CommandError(f"Stripe: {error.detail}") from error
