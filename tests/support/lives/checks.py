"""What holds whatever happened. Sums are done anew here, naively, and not as the code does them."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from django.db.models import Sum

from billing.models import (
    Credit,
    CreditApplication,
    CreditNote,
    EventStatus,
    Invoice,
    InvoiceLine,
    PaymentMethod,
    StripePrice,
    Subscription,
    WebhookEvent,
)
from orgs.models import Organization
from quotas.models import (
    LimitOverride,
    PeriodUsage,
    Plan,
    PlanAssignment,
    PlanLimit,
    PlanTerm,
    UsagePeriod,
)
from spoke.core import tenancy
from tests.support.lives.expected import base_of, overage, price_of, subscription_of
from tests.support.lives.life import Life

GRANTING = ("trialing", "active", "past_due")
STATUSES = {"incomplete_expired": "canceled", "unpaid": "past_due", "paused": "past_due"}
GRACE = timedelta(days=14)


def check(life: Life) -> None:
    """Everything, once all is caught up with."""
    with tenancy.all_organizations(reason="test"):
        check_subscriptions(life)
        check_copies(life)
        check_cards(life)
        check_money(life)
        check_periods(life)
        check_invoices(life)
        check_numbers(life)
        check_credits(life)
        check_limits(life)
        check_organization(life)
        check_events(life)


def moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def same(life: Life, what: str, ours: Any, theirs: Any) -> None:
    life.expect(ours == theirs, f"{what}: {ours} here, {theirs} there")


def check_subscriptions(life: Life) -> None:
    """Ours are Stripe's, field by field."""
    theirs = {row["id"]: row for row in life.there("subscription")}
    rows = Subscription.objects.filter(org_id=life.org, collection="stripe")
    ours = {row.stripe_id: row for row in rows.select_related("plan", "pending_plan")}
    for name in theirs:
        # What was declined or left half-made has no row.
        gone = theirs[name]["status"] in ("canceled", "incomplete_expired")
        life.expect(name in ours or gone, f"{name} {theirs[name]['status']} is not here")
    for name, row in ours.items():
        life.expect(name in theirs, f"{name} {row.status} is not there")
        there = theirs[name]
        item = there["items"]["data"][0]
        same(life, "status", row.status, STATUSES.get(there["status"], there["status"]))
        same(life, "currency", row.currency, there["currency"])
        same(life, "trial end", row.trial_end, moment(there["trial_end"]))
        if row.status == "canceled":
            if row.ended_at != row.started_at:
                late = row.ended_at - moment(there["ended_at"])
                life.expect(late >= -life.skew, f"ended {late} after Stripe's end")
            continue
        same(life, "anchor", row.anchor, moment(there["billing_cycle_anchor"]))
        same(life, "begins", row.current_period_start, moment(item["current_period_start"]))
        same(life, "ends", row.current_period_end, moment(item["current_period_end"]))
        same(life, "cancels", row.cancel_at_period_end, there["cancel_at_period_end"])
        same(life, "canceled at", row.canceled_at, moment(there["canceled_at"]))
        price = StripePrice.objects.select_related("price__plan").get(stripe_id=item["price"]["id"])
        plan = row.pending_plan or row.plan
        same(life, "plan", str(plan), str(price.price.plan))
        same(life, "interval", row.interval, price.price.interval)
        if row.status == "active":
            life.expect(row.past_due_since is None, "active and overdue")


def check_copies(life: Life) -> None:
    """Each invoice of Stripe's own is here, in cents, status and currency; ours there are as ours."""
    every = {row["id"]: row for row in life.there("invoice")}
    theirs = {n: r for n, r in every.items() if r["total"] and "spoke_invoice" not in r["metadata"]}
    rows = Invoice.objects.filter(org_id=life.org)
    ours = {row.stripe_id: row for row in rows.filter(source="stripe")}
    same(life, "invoices of Stripe's", sorted(ours), sorted(theirs))
    for row in rows.filter(stripe_id__isnull=False):
        there = every[row.stripe_id]
        same(life, "currency", row.currency, there["currency"])
        same(life, "total", row.total_minor, there["total"])
        if (row.status, there["status"]) != ("void", "paid"):
            same(life, f"status of {row.number}", row.status, there["status"])
        if row.status != "draft":
            same(life, "number", row.number, there["number"])
        lines = InvoiceLine.objects.filter(invoice=row).aggregate(sum=Sum("amount_minor"))["sum"]
        same(life, f"lines of {row.number}", lines or 0, row.total_minor)
        if row.status in ("open", "paid"):
            given = given_back(life, there)
            same(life, f"credited of {row.number}", row.credited_minor, given)


def given_back(life: Life, invoice: dict[str, Any]) -> int:
    store = life.world.fake.store
    notes = [x for x in store.of("credit_note").values() if x["invoice"] == invoice["id"]]
    standing = [row for row in notes if row["status"] != "void"]
    claimed = {x["refund"] for row in standing for x in row.get("refunds") or ()}
    intents = {
        x["payment"]["payment_intent"] for x in invoice["_payments"] if x["status"] == "paid"
    }
    refunds = [
        row["amount"]
        for row in store.of("refund").values()
        if row["payment_intent"] in intents
        and row["status"] == "succeeded"
        and row["id"] not in claimed
    ]
    return sum(row["total"] for row in standing) + sum(refunds)


def check_cards(life: Life) -> None:
    """Ours are those that are attached at Stripe, with the same default."""
    customer = life.customer()
    if customer is None:
        return
    there = life.world.fake.store.of("customer")[customer]
    default = there["invoice_settings"]["default_payment_method"]
    theirs = {row["id"]: row["id"] == default for row in life.there("payment_method")}
    rows = PaymentMethod.objects.filter(org_id=life.org)
    same(life, "cards", dict(rows.values_list("stripe_id", "is_default")), theirs)


def worth(life: Life, subscription: str, at: int) -> Fraction:
    """What was paid for the time of a subscription after a moment, minor units."""
    total = Fraction(0)
    for invoice in life.there("invoice"):
        if invoice["_sub"] != subscription or invoice["status"] != "paid":
            continue
        for line in invoice["lines"]["data"]:
            start, end = line["period"]["start"], line["period"]["end"]
            if end > max(start, at):
                total += Fraction(line["amount"] * (end - max(start, at)), end - start)
    return total


def check_money(life: Life) -> None:
    """Nothing is taken twice, nothing given back that was not paid, and what holds is paid for."""
    now = life.world.fake.store.now()
    for there in life.there("subscription"):
        bills = [row for row in life.there("invoice") if row["_sub"] == there["id"]]
        slack = 3 * len(bills) + 2
        row = Subscription.objects.filter(stripe_id=there["id"]).select_related("plan").first()
        at = there["ended_at"] or now
        left = worth(life, there["id"], at)
        life.expect(left >= -slack, f"{float(left)} were given back and never paid")
        if row is None or there["ended_at"] or there["status"] == "incomplete":
            continue
        item = there["items"]["data"][0]
        start, end = item["current_period_start"], item["current_period_end"]
        price = 0
        if there["status"] != "trialing":
            price = price_of(row.plan, row.interval, row.currency)
        due = Fraction(price * (end - max(at, start)), end - start)
        life.expect(left <= due + slack, f"{float(left)} were paid for {float(due)}")
        if all(row["status"] == "paid" for row in bills):
            life.expect(left >= due - slack, f"{float(left)} were paid for {float(due)}")
    for invoice in life.there("invoice"):
        intents = {
            n
            for n, x in life.world.fake.store.of("payment_intent").items()
            if x["_invoice"] == invoice["id"]
        }
        taken = sum(
            row["amount_captured"]
            for row in life.there("charge")
            if row["payment_intent"] in intents and row["paid"]
        )
        wanted = max(0, invoice["total"] + (invoice["starting_balance"] or 0))
        life.expect(taken <= wanted, f"{taken} taken for {invoice['number']} of {wanted}")
    held = sum(x["amount_captured"] - x["amount_refunded"] for x in life.there("charge"))
    life.expect(held >= 0, "more was refunded than was taken")


def check_periods(life: Life) -> None:
    """They tile time."""
    rows = list(UsagePeriod.objects.filter(org_id=life.org).order_by("start"))
    for before, after in pairwise(rows):
        same(life, "a period's end and the next one's start", before.end, after.start)
    if rows:
        life.expect(rows[-1].end > life.world.at - timedelta(hours=1), "no period is under way")
    used = sum(n for _, n in life.jobs)
    kept = PeriodUsage.objects.filter(org_id=life.org, resource="compile_jobs")
    same(life, "jobs", kept.aggregate(sum=Sum("used"))["sum"] or 0, used)


def check_invoices(life: Life) -> None:
    """A closed period has at most one invoice of ours, with exactly its overage and base price."""
    rows = Invoice.objects.filter(org_id=life.org, source="usage")
    bills = {row.period_start: row for row in rows}
    for period in UsagePeriod.objects.filter(org_id=life.org, closed_at__isnull=False):
        currency, wanted = overage(life, period)
        subscription = subscription_of(life, period)
        by_hand = subscription is not None and subscription.collection == "manual"
        base = list(base_of(life, subscription, period)) if subscription and by_hand else []
        bill = bills.pop(period.start, None)
        told = f"{period.start:%Y-%m-%d %H:%M:%S} to {period.end:%Y-%m-%d %H:%M:%S}"
        if bill is None:
            life.expect(not wanted and not base, f"{told}: no invoice of {wanted} {base}")
            continue
        same(life, "end of an invoice", bill.period_end, period.end)
        lines = InvoiceLine.objects.filter(invoice=bill)
        over = {x.resource: x.amount_minor for x in lines.filter(kind="overage")}
        same(life, f"overage of {told}", over, wanted)
        life.expect(bill.status != "draft" or bill.nothing_due, f"{told} is still a draft")
        priced = lines.filter(kind__in=("base", "proration")).order_by("position")
        same(life, f"base of {told}", [x.amount_minor for x in priced], base)
        if wanted or base:
            same(life, f"currency of {told}", bill.currency, currency)
            life.expect(bill.number is not None, f"{told} has no number")
        whole = sum(x.amount_minor for x in lines)
        same(life, f"total of {told}", bill.total_minor, whole)
        life.expect(bill.total_minor >= 0 or by_hand, f"{told} costs less than nothing")
        collected = subscription is not None and subscription.collection == "stripe"
        if bill.status == "open" and collected and life.customer():
            life.expect(bill.stripe_id is not None, f"{told} is not at Stripe")
    life.expect(all(x.status == "draft" for x in bills.values()), f"invoices of nothing: {bills}")


def check_numbers(life: Life) -> None:
    """They follow each other without a gap, by year."""
    by_year: dict[str, list[int]] = {}
    for row in (
        *Invoice.objects.filter(source="usage"),
        *CreditNote.objects.filter(source="spoke"),
    ):
        if row.number:
            name, count = row.number.rsplit("-", 1)
            by_year.setdefault(name, []).append(int(count))
    for name, counts in by_year.items():
        same(life, f"numbers {name}", sorted(counts), list(range(1, len(counts) + 1)))


def check_credits(life: Life) -> None:
    """What was used of a credit and what is left are the whole; notes never exceed their invoice."""
    for credit in Credit.objects.filter(org_id=life.org):
        rows = CreditApplication.objects.filter(credit=credit, returned_at__isnull=True)
        used = rows.aggregate(sum=Sum("amount_minor"))["sum"] or 0
        same(life, "a credit", used + credit.remaining_minor, credit.amount_minor)
    for row in Invoice.objects.filter(org_id=life.org, number__isnull=False, source="usage"):
        used = CreditApplication.objects.filter(invoice=row).aggregate(sum=Sum("amount_minor"))
        lines = InvoiceLine.objects.filter(invoice=row, kind="credit")
        taken = lines.aggregate(sum=Sum("amount_minor"))["sum"] or 0
        same(life, f"credits of {row.number}", -taken, used["sum"] or 0)
    for row in Invoice.objects.filter(org_id=life.org, credited_minor__gt=0):
        life.expect(row.credited_minor <= row.total_minor, f"{row.number}: credited too much")


def check_limits(life: Life) -> None:
    """The plan in force is that of the subscription, and its limits hold but for overrides."""
    live = Subscription.objects.filter(org_id=life.org, status__in=GRANTING).first()
    plan = live.plan if live else Plan.objects.get(code="free", superseded_at=None)
    assigned = PlanAssignment.objects.filter(org_id=life.org).select_related("plan").first()
    same(life, "plan in force", str(assigned.plan if assigned else plan), str(plan))
    term = PlanTerm.objects.filter(org_id=life.org).order_by("start").last()
    same(life, "last term", str(term.plan if term else plan), str(plan))
    same(life, "tier", Organization.objects.get(pk=life.org).plan_tier, plan.code)
    wanted = dict(PlanLimit.objects.filter(plan=plan).values_list("resource", "limit"))
    for row in LimitOverride.objects.filter(org_id=life.org):
        if row.expires_at is None or row.expires_at > life.world.at:
            wanted[row.resource] = row.limit
    if life.row().status != "closed":
        told = life.ask("get", "/quotas").json()["limits"]
        same(life, "limits", {x["resource"]: x["limit"] for x in told}, wanted)


def check_organization(life: Life) -> None:
    """Suspended only by staff, or because a payment has been overdue for longer than its grace."""
    org = life.row()
    if org.status != "suspended" or org.staff_hold:
        return
    late = Subscription.objects.filter(
        org_id=life.org, status="past_due", past_due_since__lte=life.world.at - GRACE
    )
    unpaid = Invoice.objects.filter(
        org_id=life.org,
        status__in=("open", "uncollectible"),
        finalized_at__lte=life.world.at - GRACE,
    )
    life.expect(late.exists() or unpaid.exists(), f"suspended: {org.status_reason}")


def check_events(life: Life) -> None:
    """Nothing waits, and nothing is dead."""
    for row in WebhookEvent.objects.exclude(status=EventStatus.DONE):
        life.fail(f"{row} {row.status}: {row.error[-1500:]}")
