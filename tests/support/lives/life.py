"""A random life of an organization: what it is made of, and how time passes in it."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from billing import tasks
from billing.models import EventStatus, StripeCustomer, WebhookEvent
from billing.services import stripe_invoices
from orgs.models import Organization
from quotas import tasks as quota_tasks
from spoke.core import tenancy
from spoke.core.errors import Conflict, ServiceUnavailable
from tests.factories import MembershipFactory, OrganizationFactory
from tests.support.stripe_world import World

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))
WHO = ("owner", "staff")


class Failure(AssertionError):
    """What did not hold, after what happened."""


class Life:
    """`dice` decides everything. `jobs` and `levels` (of storage) say what was used, and when."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.dice = world, seed, random.Random(seed)
        self.name = f"life-{seed}"
        self.log: list[str] = []
        self.jobs: list[tuple[datetime, int]] = []
        self.levels: list[tuple[datetime, int]] = []
        # (when, resource, until when; None: for ever, False: it was taken away).
        self.overrides: list[tuple[datetime, str, Any]] = []
        self.faulty = self.dropped = False
        # Stripe's clock may be ahead of ours.
        self.skew = self.dice.choice([0, 0, 0, 1, 2]) * SECOND
        with tenancy.all_organizations(reason="test"):
            made: Any = OrganizationFactory(name=self.name, owner=world.cast.owner)
            MembershipFactory(org=made, user=world.cast.admin, role="admin")
        self.org: int = made.pk
        self.born = world.at
        self.clients = {who: world.client(who) for who in WHO}

    # --- what happens ---------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """One more thing that happened."""
        self.log.append(f"{self.world.at:%Y-%m-%d %H:%M:%S} {text}")

    def fail(self, text: str) -> None:
        """Raises Failure with all that happened."""
        raise Failure(f"seed {self.seed}: {text}\n" + "\n".join(self.log))

    def expect(self, holds: bool, text: str) -> None:
        """Raises Failure where it does not hold."""
        if not holds:
            self.fail(text)

    def ask(self, method: str, path: str, body: Any = None, *, who: str = "owner") -> Any:
        """A request to the API about the organization. Never a 500; a 503 only while Stripe fails."""
        address = f"/orgs/{self.name}{path}"
        answer = getattr(self.clients[who], method)(address, body)
        told = answer.json() if answer.content else {}
        code = told.get("code", "") if answer.status_code >= 400 else ""
        self.note(f"{who} {method} {path} {body or ''} -> {answer.status_code} {code}")
        known = answer.status_code < 500 or (answer.status_code == 503 and self.faulty)
        self.expect(known, f"an answer of {answer.status_code}: {answer.content!r}")
        return answer

    # --- Stripe's side --------------------------------------------------------------------------

    def customer(self) -> str | None:
        """The organization's customer at Stripe."""
        with tenancy.all_organizations(reason="test"):
            rows = StripeCustomer.objects.filter(org_id=self.org)
            return rows.values_list("stripe_id", flat=True).first()

    def there(self, kind: str) -> list[dict[str, Any]]:
        """Stripe's objects of a kind of the customer, oldest first."""
        customer = self.customer()
        rows = [x for x in self.world.fake.store.of(kind).values() if x["customer"] == customer]
        return sorted(rows, key=lambda row: row["_n"]) if customer else []

    # --- time -----------------------------------------------------------------------------------

    def turn(self, moment: datetime) -> None:
        """It is then; Stripe does what is due."""
        self.world.at = moment
        self.world._move(moment)
        self.world.control.advance_to(moment + self.skew)

    def tick(self) -> None:
        """A moment passes."""
        self.turn(self.world.at + self.dice.randrange(1, 90) * SECOND)

    def settle(self) -> None:
        """Webhooks come, and our periodic tasks run."""
        self.world.control.deliver()
        for task in (
            quota_tasks.turn_due_periods,
            tasks.process_due_events,
            tasks.turn_due_subscriptions,
            tasks.draft_due_invoices,
            tasks.finalize_due_invoices,
            tasks.push_due_details,
            tasks.push_due_notes,
            tasks.reconcile_subscriptions,
            tasks.chase_overdue,
            tasks.warn_of_expiry,
        ):
            self.run(task)
        for org_id, invoice_id in stripe_invoices.due_for_push():
            self.run(lambda o=org_id, i=invoice_id: tasks.push_invoice(o, i))
        self.world.control.deliver()

    def run(self, task: Any) -> None:
        """A task, which may fail only while Stripe does."""
        try:
            task()
        except ServiceUnavailable:
            self.expect(self.faulty, "a task failed")
        except Conflict as error:
            if "no payment method" not in str(error):
                raise

    def live(self, length: timedelta, step: timedelta, *, away: bool = False) -> None:
        """So much time passes. `away`: nobody works meanwhile, and webhooks wait."""
        self.note(f"{length} in steps of {step}{', nobody works' if away else ''}")
        end = self.world.at + length
        while self.world.at < end:
            self.turn(min(self.world.at + step, end))
            if away:
                continue
            self.settle()
            if self.dice.random() < 0.3:
                self.run(tasks.sweep_events)
            if step >= DAY and self.dice.random() < 0.3:
                self.run(lambda: tasks.compare_customer(self.org))

    def calm(self) -> None:
        """All that went wrong outside is over, and everything is caught up with."""
        control = self.world.control
        control.clear_faults()
        for what in ("drop", "duplicate", "reorder"):
            getattr(control, f"{what}_webhooks")(0)
        self.faulty = False
        for _ in range(2):
            self.settle()
            self.run(tasks.sweep_events)
            # An event that failed waits for minutes or hours.
            WebhookEvent.objects.filter(status=EventStatus.WAITING).update(due_at=timezone.now())
            tasks.process_due_events()
        quota_tasks.evaluate_budgets()
        found = tasks.compare_customer(self.org)
        if found and not self.dropped:
            self.fail(f"{found} differences from Stripe though no event was lost")
        self.dropped = False
        self.settle()

    def row(self) -> Organization:
        """The organization."""
        with tenancy.all_organizations(reason="test"):
            return Organization.objects.get(pk=self.org)


def cents(amount: Decimal) -> int:
    """Minor units of an amount in major ones, half away from zero."""
    scaled = amount * 100
    whole = int(abs(scaled) + Decimal("0.5"))
    return whole if scaled >= 0 else -whole
