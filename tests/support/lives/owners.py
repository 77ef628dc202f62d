"""What an owner does, over the REST API."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import requests

from billing.models import Subscription
from quotas.models import Plan
from quotas.resources import Resource
from quotas.services.reservations import release, reserve
from quotas.services.usage import record_meter
from spoke.core import tenancy
from spoke.core.errors import DomainError
from tests.support.lives.checks import GRANTING, given_back, worth
from tests.support.lives.expected import price_of
from tests.support.lives.life import DAY, HOUR, MINUTE, SECOND, Life, cents

GB = 2**30
CARDS = (
    *("pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_mastercard", "pm_card_amex"),
    *("pm_card_chargeDeclined", "pm_card_chargeCustomerFail", "pm_card_threeDSecure2Required"),
)
SUBSCRIPTION = "/subscription"


def live(life: Life) -> Subscription | None:
    """The subscription that has not ended."""
    with tenancy.all_organizations(reason="test"):
        rows = Subscription.objects.select_related("plan", "pending_plan")
        return rows.filter(org_id=life.org, ended_at=None).first()


def subscribe(life: Life) -> None:
    dice = life.dice
    wish: dict[str, Any] = {
        "plan": dice.choice(["pro", "pro", "enterprise"]),
        "interval": dice.choice(["month", "month", "year"]),
        "currency": dice.choice(["usd", "usd", "eur"]),
    }
    if dice.random() < 0.9:
        wish["payment_method_id"] = dice.choice(CARDS)
    if dice.random() < 0.2:
        wish["trial_period_days"] = dice.choice([1, 7, 14, 31, 60])
    told = None
    if dice.random() < 0.5 and live(life) is None:
        about = {name: wish[name] for name in ("plan", "interval", "currency")}
        told = life.ask("post", f"{SUBSCRIPTION}/preview", about)
    before = len(life.there("invoice"))
    answer = life.ask("post", SUBSCRIPTION, wish)
    made = life.there("invoice")[before:]
    done = told and told.status_code == 200 and answer.status_code == 201 and not life.faulty
    if done and not wish.get("trial_period_days"):
        billed = sum(row["total"] for row in made)
        life.expect(told.json()["amount_cents"] == billed, f"{billed} billed, not as previewed")


def checkout(life: Life) -> None:
    """By Stripe's page."""
    dice = life.dice
    wish = {"plan": dice.choice(["pro", "enterprise"]), "currency": dice.choice(["usd", "eur"])}
    made = life.ask("post", "/billing/checkout", wish)
    if made.status_code == 201:
        number = dice.choice(["4242424242424242", "5555555555554444", "4000000000000341"])
        page = made.json()["url"]
        answer = requests.post(page, data={"number": number}, timeout=10, allow_redirects=False)
        life.note(f"the page is paid with {number}: {answer.status_code}")


def _wanted(life: Life, row: Subscription) -> dict[str, str]:
    dice = life.dice
    wish = {}
    if dice.random() < 0.8:
        wish["plan"] = dice.choice(["pro", "enterprise"])
    if dice.random() < 0.35 or not wish:
        wish["interval"] = dice.choice(["month", "year", "year"])
    return wish


def naive(life: Life, row: Subscription, plan: Plan, interval: str) -> int:
    """What the change costs now, minor units."""
    there = life.world.fake.store.of("subscription")[row.stripe_id or ""]
    if there["status"] == "trialing":
        return 0
    item = there["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    left = Fraction(end - life.world.fake.store.now(), end - start)
    old = price_of(row.plan, row.interval, row.currency)
    new = price_of(plan, interval, row.currency)
    if interval == row.interval and new <= old:
        return 0

    def share(price: int) -> int:
        exact = Decimal((left * price).numerator) / Decimal((left * price).denominator)
        return cents(exact / 100)

    return (new if interval != row.interval else share(new)) - share(old)


def change(life: Life) -> None:
    """Up, down, or by the year; what was previewed is what is billed, and what it should be."""
    row = live(life)
    if row is None:
        life.ask("patch", SUBSCRIPTION, {"plan": "pro"})
        return
    wish = _wanted(life, row)
    if life.dice.random() < 0.15:
        life.settle()
        row = live(life) or row
    told = None
    if life.dice.random() < 0.7:
        about = {"plan": row.plan.code} | wish
        told = life.ask("post", f"{SUBSCRIPTION}/preview", about)
    with tenancy.all_organizations(reason="test"):
        code = wish.get("plan", row.plan.code)
        plan = row.plan if code == row.plan.code else Plan.objects.current().get(code=code)
        known = row.stripe_id in life.world.fake.store.of("subscription")
        before = life.there("subscription")
        stands = known and row.status in GRANTING and _heard(row, before)
        cost = naive(life, row, plan, wish.get("interval", row.interval)) if stands else None
    count = len(life.there("invoice"))
    sent: dict[str, Any] = dict(wish)
    if life.dice.random() < 0.15:
        sent["payment_method_id"] = life.dice.choice(CARDS)
    answer = life.ask("patch", SUBSCRIPTION, sent)
    made = [x for x in life.there("invoice")[count:] if x["billing_reason"] != "manual"]
    billed = sum(x["total"] for x in made)
    if answer.status_code != 200 or life.faulty:
        if answer.status_code in (402, 409, 400):
            life.expect(not billed, f"{billed} billed for what was refused")
        return
    if cost is not None:
        life.expect(cost == billed, f"{billed} billed, not {cost}")
    if told is not None and told.status_code == 200 and not life.skew:
        body = told.json()
        amount = body["amount_cents"] if body["takes_effect"] == "now" else 0
        trial = row.status == "trialing"
        life.expect(trial or amount == billed, f"{billed} billed, {amount} previewed")


def _heard(row: Subscription, there: list[dict[str, Any]]) -> bool:
    """Whether we know the period that Stripe is in."""
    found = next(x for x in there if x["id"] == row.stripe_id)
    start = found["items"]["data"][0]["current_period_start"]
    return int(row.current_period_start.timestamp()) == start and not found["ended_at"]


def cancel(life: Life) -> None:
    """Nothing is given back but what was paid."""
    row = live(life)
    now = life.dice.random() < 0.5
    count = len(life.there("invoice"))
    answer = life.ask("post", f"{SUBSCRIPTION}/cancel", {"immediately": now})
    if answer.status_code != 200 or not now or row is None or not row.stripe_id:
        return
    at = life.world.fake.store.now()
    bills = [x for x in life.there("invoice") if x["_sub"] == row.stripe_id]
    back = -sum(x["total"] for x in life.there("invoice")[count:] if x["_sub"] == row.stripe_id)
    left = worth(life, row.stripe_id, at)
    slack = 3 * len(bills) + 2
    life.expect(left >= -slack, f"{back} given back, {float(left)} more than was paid")
    if row.status == "active" and all(x["status"] == "paid" for x in bills):
        untouched = not any(given_back(life, x) for x in bills if x["total"] > 0)
        if untouched:
            life.expect(abs(left) <= slack, f"{float(left)} are left that were paid for")
    if back:
        paid = [
            x
            for x in bills
            if x["status"] == "paid"
            and any(line["period"]["end"] > at for line in x["lines"]["data"])
        ]
        kept = sum(x["total"] - given_back(life, x) for x in paid)
        life.expect(kept >= -slack, f"{back} given back, {-kept} more than was kept of it")


def reactivate(life: Life) -> None:
    life.ask("post", f"{SUBSCRIPTION}/reactivate")


def cards(life: Life) -> None:
    dice, known = life.dice, [x["id"] for x in life.there("payment_method")]
    what = dice.randrange(4)
    if what == 0 or not known:
        token = dice.choice(CARDS)
        sent = {"stripe_payment_method_id": token, "set_as_default": dice.random() < 0.5}
        life.ask("post", "/payment-methods", sent)
    elif what == 1:
        life.ask("put", f"/payment-methods/{dice.choice(known)}/default")
    elif what == 2:
        life.ask("delete", f"/payment-methods/{dice.choice(known)}")
    else:
        life.ask("patch", SUBSCRIPTION, {"payment_method_id": dice.choice(CARDS)})


def budget(life: Life) -> None:
    dice = life.dice
    life.ask(
        "put",
        "/budget",
        {
            "amount_cents": dice.choice([None, 0, 500, 2_000, 100_000]),
            "currency": dice.choice(["usd", "usd", "eur"]),
            "action": dice.choice(["notify", "block"]),
        },
    )


def work(life: Life) -> None:
    """Compile jobs, storage or API requests, for some hours."""
    dice = life.dice
    for _ in range(dice.randrange(1, 4)):
        what = dice.randrange(4)
        if what <= 1:
            _reserve(life, Resource.COMPILE_JOBS, dice.choice([1, 37, 90, 450, 1_200, 60_000]))
        elif what == 2:
            _store(life)
        else:
            amount = dice.choice([999, 20_000, 650_123, 7_000_000])
            late = dice.choice([0, 0, 30, 90, 26 * 60]) * MINUTE
            at = max(life.world.at - late, life.born)
            life.note(f"{amount} requests, {late} ago")
            with tenancy.organization(life.org):
                record_meter(
                    org_id=life.org,
                    resource=Resource.API_REQUESTS,
                    amount=amount,
                    at=at,
                    now=life.world.at,
                )
        life.turn(life.world.at + dice.randrange(1, 7_200) * SECOND)


def _store(life: Life) -> None:
    dice, level = life.dice, life.levels[-1][1] if life.levels else 0
    amount = dice.choice([1, GB // 3, 4 * GB, 9 * GB + 12_345, 60 * GB])
    if dice.random() < 0.4:
        life.note(f"{amount} bytes are released")
        with tenancy.organization(life.org):
            release(org_id=life.org, resource=Resource.STORAGE, amount=amount, now=life.world.at)
        life.levels.append((life.world.at, max(0, level - amount)))
    elif _reserve(life, Resource.STORAGE, amount):
        life.levels.append((life.world.at, level + amount))


def _reserve(life: Life, resource: Resource, amount: int) -> bool:
    try:
        with tenancy.organization(life.org):
            reserve(org_id=life.org, resource=resource, amount=amount, now=life.world.at)
    except DomainError as refused:
        life.note(f"{amount} {resource} refused: {refused.code}")
        return False
    life.note(f"{amount} {resource}")
    if resource is Resource.COMPILE_JOBS:
        life.jobs.append((life.world.at, amount))
    return True


def close(life: Life) -> None:
    life.ask("delete", "")


def reopen(life: Life) -> None:
    life.ask("post", "/reopen")


def hours(life: Life) -> None:
    length = life.dice.randrange(1, 40) * HOUR
    life.live(length, life.dice.choice([HOUR, 7 * HOUR, 2 * DAY]), away=life.dice.random() < 0.2)


def days(life: Life) -> None:
    length = life.dice.randrange(1, 41) * DAY + life.dice.randrange(86_400) * SECOND
    away = life.dice.random() < 0.15
    life.live(length, life.dice.choice([DAY / 2, 3 * DAY, 9 * DAY]), away=away)


def turn_of_period(life: Life) -> None:
    """Right before, or after, the end of what is paid for."""
    row = live(life)
    if row is None:
        hours(life)
        return
    off = life.dice.choice([-1, 1, 20, 59, 61, 150]) * MINUTE
    length = row.current_period_end + off - life.world.at
    if timedelta(0) < length < 45 * DAY:
        life.live(length, life.dice.choice([2 * DAY, 40 * DAY]), away=life.dice.random() < 0.4)
