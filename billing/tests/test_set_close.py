"""The set-based close writes what the readable rules do, line by line, on random organizations."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing import tasks
from billing.models import (
    BillingDetails,
    Collection,
    Credit,
    Invoice,
    InvoiceLine,
    NumberSequence,
    Subscription,
    TaxRate,
)
from billing.services import invoicing, set_close, subscriptions
from conftest import door
from orgs.context import SYSTEM
from orgs.models import AuditEvent, Organization
from quotas.charges import ChargeDefinition
from quotas.models import LimitOverride, UsagePeriod
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.period_close import close_periods, open_periods
from quotas.services.periods import current_period, restart_period
from quotas.services.plans import LimitDefinition, PlanDefinition, assign_plan, publish_plan
from quotas.services.reservations import release, reserve
from quotas.tests.threads import at_once
from spoke.core import tenancy
from tests.factories import OrganizationFactory

START = datetime(2028, 1, 29, 7, 30, tzinfo=UTC)  # before a leap day
DAY = timedelta(days=1)
CURRENCIES = ("usd", "eur", "jpy", "kwd")
D = Decimal


def amount(chance: random.Random, most: int = 1000) -> Decimal:
    return D(chance.randrange(most * 10**4)).scaleb(-chance.choice((2, 4, 6, 9)))


def charge(chance: random.Random, size: int) -> ChargeDefinition:
    model = chance.choice(["per_unit", "package", "flat", "percentage", "graduated", "volume"])
    bounds = sorted({amount(chance, 20) + D("0.01") for _ in range(chance.randrange(3))})
    tiers = tuple(Tier(bound, amount(chance), amount(chance)) for bound in (*bounds, None))
    low, high = sorted((amount(chance), amount(chance)))
    return ChargeDefinition(
        unit="unit",
        unit_size=chance.choice((1, 3, 7, size, 2**30)),
        included=chance.choice((0, 1, chance.randrange(size))),
        unit_amount=amount(chance),
        model=model,
        tiers=tiers if model in ("graduated", "volume") else (),
        minimum=chance.choice((None, None, low)),
        maximum=chance.choice((None, None, high)),
    )


def some_plan(number: int, chance: random.Random):
    overage = (Resource.STORAGE, Resource.COMPILE_JOBS)
    limits = {r: LimitDefinition(10**6, overage=r in overage) for r in Resource}
    charges = {
        (resource, currency): charge(chance, 1000)
        for resource in Resource
        for currency in CURRENCIES
        if chance.random() < 0.7
    }
    prices = {
        (currency, interval): chance.choice((0, 10, chance.randrange(10**6) * 10))
        for currency in CURRENCIES
        for interval in ("month", "year")
    }
    definition = PlanDefinition(
        code=f"plan-{number}", name=f"Plan {number}", limits=limits, prices=prices, charges=charges
    )
    return publish_plan(definition=definition, now=START - 400 * DAY)


def begin(org_id: int, plan, chance: random.Random, at: datetime) -> None:
    """A subscription by hand or by card, or a plan that staff gave."""
    how = chance.choice(("hand", "hand", "card", "given"))
    if how == "given":
        assign_plan(org_id=org_id, plan=plan, actor=SYSTEM, now=at)
        return
    trial = chance.choice((0, 0, 0, 14))
    row = subscriptions.start_subscription(
        org_id=org_id,
        plan=plan,
        interval=chance.choice(("month", "year")),
        currency=chance.choice(CURRENCIES),
        actor=SYSTEM,
        now=at,
        trial_days=trial,
    )
    if how == "card":
        Subscription.objects.filter(pk=row.pk).update(
            collection=Collection.STRIPE, stripe_id=f"sub_{org_id}"
        )
        if chance.random() < 0.3:
            # A trial in the middle, as of Stripe's dashboard: what began before it is billed.
            Subscription.objects.filter(pk=row.pk).update(
                trial_start=at + DAY, trial_end=at + 60 * DAY
            )


def live(org_id: int, plans: list, chance: random.Random) -> None:
    at = START + chance.randrange(3 * 86_400) * timedelta(seconds=1)
    with tenancy.organization(org_id):
        begin(org_id, chance.choice(plans), chance, at)
        stored = 0
        for _ in range(chance.randrange(6)):
            at += timedelta(microseconds=chance.randrange(6 * 86_400 * 10**6))
            size = chance.randrange(1, 5 * 2**30)
            if stored > size and chance.random() < 0.5:
                release(org_id=org_id, resource=Resource.STORAGE, amount=size, now=at)
                stored -= size
            else:
                reserve(org_id=org_id, resource=Resource.STORAGE, amount=size, now=at)
                stored += size
            reserve(org_id=org_id, resource=Resource.MODULES, amount=1, now=at)
            jobs = chance.choice((1, 2, 10, 21, chance.randrange(1, 5_000)))
            reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=jobs, now=at)
            usage.record_meter(
                org_id=org_id, resource=Resource.API_REQUESTS, amount=jobs * 997, at=at, now=at
            )
        by_hand = Subscription.objects.filter(org_id=org_id, collection=Collection.MANUAL).exists()
        if by_hand and chance.random() < 0.3:
            subscriptions.change_plan(
                org_id=org_id, plan=chance.choice(plans), actor=SYSTEM, now=at + DAY
            )
        if by_hand and chance.random() < 0.2:
            subscriptions.cancel_subscription(
                org_id=org_id, immediately=chance.random() < 0.5, actor=SYSTEM, now=at + 2 * DAY
            )


def adorn(org_id: int, chance: random.Random) -> None:
    """Overrides, tax and credits of some."""
    if chance.random() < 0.2:
        LimitOverride.objects.create(
            org_id=org_id,
            resource=chance.choice(list(Resource)),
            limit=10**9,
            expires_at=chance.choice((None, START + 10 * DAY, START + 38 * DAY)),
            created_at=START,
        )
    if chance.random() < 0.6:
        BillingDetails.objects.create(
            org_id=org_id,
            legal_name="Robots & Söhne",
            country=chance.choice(("DE", "FR", "CH", "")),
            tax_exempt=chance.random() < 0.1,
            updated_at=START,
            **chance.choice(({}, {"tax_id_type": "eu_vat", "tax_id": "DE123456789"})),
        )
    if chance.random() < 0.15:
        have_credit(org_id, chance.choice(CURRENCIES), chance.choice((0, 500)))


def have_credit(org_id: int, currency: str, left: int) -> None:
    Credit.objects.create(
        org_id=org_id,
        currency=currency,
        amount_minor=500,
        remaining_minor=left,
        reason="Sorry",
        created_at=START,
    )


@pytest.fixture
def rates(db) -> None:
    for country, name, percentage in (
        ("DE", "VAT", "19"),
        ("FR", "TVA", "20.5"),
        ("CH", "MWST", 0),
    ):
        TaxRate.objects.create(
            country=country, name=name, percentage=percentage, valid_from=date(2020, 1, 1)
        )


def written() -> list[dict]:
    """All invoices with their lines, without ids and numbers."""
    unlike = {"id", "number", "invoice_id"}
    found = []
    for invoice in Invoice.objects.order_by("org_id", "period_start").values():
        lines = InvoiceLine.objects.filter(invoice_id=invoice["id"]).order_by("position").values()
        row = {name: value for name, value in invoice.items() if name not in unlike}
        row["has_number"] = invoice["number"] is not None
        row["lines"] = [
            {name: value for name, value in line.items() if name not in unlike} for line in lines
        ]
        found.append(row)
    return found


def audited() -> list:
    rows = AuditEvent.objects.filter(action="invoice.finalized").order_by("org_id", "id")
    return [
        (row.org_id, row.at, row.actor_kind, row.actor_label, row.data["amount_cents"])
        for row in rows
    ]


def numbers() -> list[str]:
    rows = Invoice.objects.filter(number__isnull=False).order_by("number")
    return list(rows.values_list("number", flat=True))


def readable(now: datetime) -> None:
    """What is due, period by period, by the rules of `invoicing`."""
    for org_id, start in invoicing.due_for_draft(now=now):
        with tenancy.organization(org_id):
            invoicing.draft_invoice(org_id=org_id, period_start=start, now=now)
    for org_id, invoice_id in invoicing.due_for_number():
        with tenancy.organization(org_id):
            invoicing.finalize_invoice(org_id=org_id, invoice_id=invoice_id, now=now)


def drafted(now: datetime, most: int = 100) -> int:
    """What windows of so many organizations draft."""
    return sum(set_close.draft_window(w, now=now) for w in set_close.windows(now=now, most=most))


def finalized(now: datetime, most: int = 100) -> int:
    """What windows of so many organizations give out."""
    return sum(set_close.finalize_window(w, now=now) for w in set_close.windows(now=now, most=most))


def by_set(now: datetime, most: int = 7) -> int:
    """The same by batches; the readable rules do the rest. Returns how many the batches wrote."""
    done = 0
    for write in (drafted, finalized):
        while count := write(now, most):
            done += count
    readable(now)
    return done


def alike(now: datetime) -> int:
    """Both ways from here give the same; leaves what the set wrote. Returns how much it did itself."""
    with transaction.atomic():
        readable(now)
        expected, events = written(), audited()
        transaction.set_rollback(True)
    done = by_set(now)
    assert written() == expected
    assert audited() == events
    sequence = NumberSequence.objects.filter(year=now.year).values_list("last", flat=True).first()
    last = sequence or 0
    assert numbers() == [f"SPK-{now.year}-{n:06}" for n in range(1, last + 1)]
    return done


@pytest.mark.parametrize("seed", range(6))
def test_line_by_line_on_random_organizations(cast, plans, rates, seed):
    chance = random.Random(seed)
    offered = [some_plan(number, chance) for number in range(6)]
    organizations = []
    for number in range(24):
        org = OrganizationFactory(name=f"org-{seed}-{number}", owner=cast.owner)
        organizations.append(org.pk)
        live(org.pk, offered, chance)
        adorn(org.pk, chance)
    done = 0
    for days in (31.01, 32, 45, 62):
        now = START + days * DAY
        for org_id in organizations:
            with tenancy.organization(org_id):
                while subscriptions.turn_subscription(org_id=org_id, now=now):
                    pass
        open_periods(org_ids=organizations, now=now)
        done += alike(now)
        close_periods(now=now, most=1000)
        done += alike(now)
    # The set does most, and the rest was there to be left alone.
    assert done > 40
    assert Invoice.objects.exclude(status="draft").count() > 20


def test_drafts_come_first_and_are_rated_anew(org_id, subscribe):
    subscribe("pro")
    period = UsagePeriod.objects.latest("start")
    end, closed = period.end, period.end + timedelta(hours=1)
    assert drafted(end - timedelta(microseconds=1)) == 0
    assert drafted(end) == 1
    assert drafted(end) == 0
    draft = Invoice.objects.get()
    assert (draft.status, draft.total_minor, draft.number) == ("draft", 4_900, None)
    usage.record_meter(
        org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1_001, at=end - DAY, now=end
    )
    assert finalized(closed) == 0
    close_periods(now=closed, most=10)
    assert finalized(closed) == 1
    assert finalized(closed) == 0
    invoice = Invoice.objects.get()
    assert (invoice.pk, invoice.status, invoice.total_minor) == (draft.pk, "open", 4_905)
    assert (invoice.number, invoice.created_at) == ("SPK-2026-000001", end)
    assert (invoice.finalized_at, invoice.due_at) == (closed, closed + timedelta(days=14))


def test_free_organizations_are_not_looked_at(org_id):
    with tenancy.organization(org_id):
        current_period(org_id=org_id, now=START)
    now = START + 32 * DAY
    close_periods(now=now, most=10)
    assert finalized(now) == 0
    assert not Invoice.objects.exists()


@pytest.fixture
def closed(committed_cast, plans) -> datetime:
    """The periods of 24 organizations are over and closed; returns when."""
    with door():
        plan = some_plan(0, random.Random(1))
        for number in range(24):
            org = OrganizationFactory(name=f"org-{number}", owner=committed_cast.owner)
            assign_plan(org_id=org.pk, plan=plan, actor=SYSTEM, now=START)
            restart_period(org_id=org.pk, anchor=START, now=START)
            reserve(org_id=org.pk, resource=Resource.STORAGE, amount=2**31, now=START)
    now = START + 32 * DAY
    close_periods(now=now, most=100)
    return now


def has_each_once(now: datetime) -> bool:
    with door():
        assert Invoice.objects.values("org_id").distinct().count() == 24
        return numbers() == [f"SPK-{now.year}-{n:06}" for n in range(1, 25)]


def test_walks_at_once_write_each_invoice_once(closed):
    now = closed

    def work(_: int) -> int:
        done = 0
        while count := finalized(now, 5):
            done += count
        return done

    done, errors = at_once(4, work)
    assert errors == []
    # Whoever found only what others held stopped early.
    assert sum(done) + finalized(now) == 24
    assert has_each_once(now)


def test_windows_side_by_side_leave_nothing(closed):
    found = list(set_close.windows(now=closed, most=5))
    done, errors = at_once(len(found), lambda n: set_close.finalize_window(found[n], now=closed))
    assert (sorted(done), errors) == ([4, 5, 5, 5, 5], [])
    assert has_each_once(closed)


def test_each_task_starts_the_next_and_sees_to_what_its_batch_left(
    closed, monkeypatch, time_machine
):
    by_batch: list[int] = []

    def counted(window: set_close.Window, *, now: datetime) -> int:
        by_batch.append(finalize_window(window, now=now))
        return by_batch[-1]

    with door():
        for org in Organization.objects.filter(name__in=("org-3", "org-23")):
            have_credit(org.pk, "usd", 1)
    finalize_window = set_close.finalize_window
    monkeypatch.setattr(set_close, "finalize_window", counted)
    monkeypatch.setattr(tasks, "BATCH", 5)
    time_machine.move_to(closed, tick=False)
    tasks.draft_due_invoices()
    tasks.finalize_due_invoices()
    # The task of the next batch is started first, and here it is run at once.
    assert by_batch == [3, 5, 5, 5, 4]
    assert has_each_once(closed)
