"""A world for scenarios: Spoke's web server, a Stripe server of its own, and one clock for both."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command

from billing import tasks
from billing.models import Invoice, PaymentMethod, StripeCustomer, Subscription
from quotas import tasks as quota_tasks
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from spoke.devservers.stripe.fake import FakeStripe

DAY = timedelta(days=1)


class World:
    """`at` is the time in it. `acme` is the id of the organization that all is about."""

    def __init__(self, fake: FakeStripe, cast: Any, move: Callable[[datetime], None]) -> None:
        self.fake, self.cast, self._move = fake, cast, move
        self.control = fake.control
        self.acme: int = cast.org.pk
        self.at = self.control.clock()
        self._move(self.at)
        call_command("seed_plans", verbosity=0)

    def client(self, who: str = "owner") -> Any:
        """An API client of one of the cast."""
        return self.cast.client(who)

    def to(self, moment: datetime, *, step: timedelta = DAY) -> None:
        """Time passes: Stripe does what is due, its webhooks come, and our periodic tasks run."""
        while self.at < moment:
            self.at = min(self.at + step, moment)
            self._move(self.at)
            self.control.advance_to(self.at)
            self.settle()

    def settle(self) -> None:
        """Webhooks come, and all periodic tasks run, until nothing is left to do."""
        self.control.deliver()
        for task in (
            quota_tasks.turn_due_periods,
            tasks.process_due_events,
            tasks.turn_due_subscriptions,
            tasks.draft_due_invoices,
            tasks.finalize_due_invoices,
            tasks.push_due_details,
            tasks.push_due_invoices,
            tasks.push_due_notes,
            tasks.retry_due_invoices,
            tasks.reconcile_subscriptions,
            tasks.chase_overdue,
            tasks.warn_of_expiry,
        ):
            task()
        self.control.deliver()

    def use(self, jobs: int) -> None:
        """So many compile jobs, now."""
        with tenancy.organization(self.acme):
            reserve(org_id=self.acme, resource=Resource.COMPILE_JOBS, amount=jobs, now=self.at)

    def subscribe(self, plan: str = "pro", **more: Any) -> None:
        """The owner subscribes by a card that pays."""
        wish = {"plan": plan, "payment_method_id": "pm_card_visa", **more}
        answer = self.client().post("/orgs/acme/subscription", wish)
        assert answer.status_code == 201, answer.content
        self.settle()

    def subscription(self) -> Subscription:
        """The newest."""
        with tenancy.organization(self.acme):
            rows = Subscription.objects.select_related("plan", "pending_plan", "org")
            return rows.filter(org_id=self.acme).latest("pk")

    def invoices(self) -> list[tuple[str, int, str]]:
        """(source, minor units, status) of each, as the owner sees them, oldest first."""
        with tenancy.organization(self.acme):
            rows = Invoice.objects.for_org(self.acme).shown().order_by("created_at", "pk")
            return [(row.source, row.total_minor, row.status) for row in rows]

    def cards(self) -> list[tuple[str, bool]]:
        """(last four digits, whether it is the default) of each."""
        with tenancy.organization(self.acme):
            rows = PaymentMethod.objects.filter(org_id=self.acme).order_by("pk")
            return list(rows.values_list("last4", "is_default"))

    def customer(self) -> str:
        """The organization's customer at Stripe."""
        with tenancy.organization(self.acme):
            return StripeCustomer.objects.get(org_id=self.acme).stripe_id

    def at_stripe(self) -> list[tuple[str, int, str]]:
        """(reason, minor units, status) of each of Stripe's invoices, oldest first."""
        rows = sorted(self.fake.store.of("invoice").values(), key=lambda row: row["_n"])
        return [(row["billing_reason"], row["total"], row["status"]) for row in rows]

    def plan(self) -> str:
        """What the organization shows as its tier: whose limits it has."""
        answer = self.client("staff").get("/orgs/acme")
        return str(answer.json()["plan_tier"])


def utc(month: int, day: int, hour: int = 9, minute: int = 30, year: int = 2026) -> datetime:
    """A moment; without a time, the one of day at which the worlds begin."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
