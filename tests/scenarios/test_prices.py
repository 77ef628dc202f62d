"""Plans priced by tiers and in other currencies, from the API to the invoice on both sides."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from orgs.context import SYSTEM
from quotas.charges import ChargeDefinition
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services.offers import offer_plan
from quotas.services.plan_file import read_plans
from quotas.services.plans import LimitDefinition, publish_plan
from spoke.core import tenancy
from tests.support.stripe_world import utc

D = Decimal
SUBSCRIPTION = "/orgs/acme/subscription"
AFTER = utc(4, 5) + timedelta(hours=6)
VOLUME = (Tier(D(5), D(7)), Tier(D(10), D("6.5")), Tier(None, D(6)))


def publish(world, currency, month, **charge):
    """A plan of acme's own in which every compile job is charged."""
    pro = next(plan for plan in read_plans() if plan.code == "pro")
    jobs = ChargeDefinition(**{"unit": "job", "unit_size": 1, "included": 0, **charge})
    definition = replace(
        pro,
        code="own",
        name="Own",
        is_public=False,
        limits={**pro.limits, Resource.COMPILE_JOBS: LimitDefinition(0, overage=True)},
        prices={(currency, "month"): month, (currency, "year"): 10 * month},
        charges={
            (Resource.COMPILE_JOBS, currency): jobs,
            (Resource.STORAGE, currency): replace(
                pro.charges[Resource.STORAGE, "usd"], unit_amount=D(5)
            ),
        },
    )
    publish_plan(definition=definition, now=world.at)
    with tenancy.organization(world.acme):
        offer_plan(org_id=world.acme, code="own", actor=SYSTEM, now=world.at)


def subscribe(world, **more):
    wish = {"plan": "own", "payment_method_id": "pm_card_visa", **more}
    answer = world.client().post(SUBSCRIPTION, wish)
    world.settle()
    return answer


def our_lines(world):
    (invoice,) = [
        row
        for row in world.client().get("/orgs/acme/invoices").json()["results"]
        if row["number"].startswith("SPK-")
    ]
    lines = world.client().get(f"/orgs/acme/invoices/{invoice['id']}").json()["lines"]
    return [(line["description"], line["amount_cents"]) for line in lines]


def test_volume_tiers(world):
    publish(world, "usd", 4_900, model="volume", tiers=VOLUME)
    assert subscribe(world).status_code == 201
    world.use(20)
    world.to(AFTER)
    # All twenty at 6.00.
    assert our_lines(world) == [
        ("Compile jobs beyond the plan (volume: to 5 at 7, to 10 at 6.5, above at 6)", 12_000)
    ]
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 4_900, "paid"),
        ("usage", 12_000, "paid"),
    ]
    assert world.at_stripe()[-1] == ("manual", 12_000, "paid")


def test_yen(world):
    publish(world, "jpy", 7_000, unit_amount=D("12.5"))
    assert subscribe(world, currency="jpy").status_code == 201
    world.use(3)
    world.to(AFTER)
    # 37.5 yen are 38.
    assert world.invoices() == [
        ("stripe", 7_000, "paid"),
        ("stripe", 7_000, "paid"),
        ("usage", 38, "paid"),
    ]
    assert world.at_stripe() == [
        ("subscription_create", 7_000, "paid"),
        ("subscription_cycle", 7_000, "paid"),
        ("manual", 38, "paid"),
    ]


def test_dinar(world):
    """Three decimals, of which cards are charged two: the invoice says by how much it was rounded."""
    publish(world, "kwd", 15_000, unit_amount=D("0.0125"))
    assert subscribe(world, currency="kwd").status_code == 201
    world.use(3)
    world.to(AFTER)
    assert our_lines(world) == [
        ("Compile jobs beyond the plan", 38),
        ("Rounding to what cards can be charged", 2),
    ]
    assert world.invoices() == [
        ("stripe", 15_000, "paid"),
        ("stripe", 15_000, "paid"),
        ("usage", 40, "paid"),
    ]
    assert world.at_stripe()[-1] == ("manual", 40, "paid")


@pytest.mark.parametrize(("currency", "month"), [("kwd", 15_001), ("isk", 7_000)])
def test_what_no_card_can_be_charged_is_refused(world, currency, month):
    publish(world, currency, month, unit_amount=D(1))
    answer = subscribe(world, currency=currency)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "currency")
    assert world.plan() == "free"
    assert world.at_stripe() == []


def test_an_offer_is_nobody_elses(world):
    publish(world, "usd", 4_900, unit_amount=D(1))
    wish = {"plan": "own", "payment_method_id": "pm_card_visa"}
    answer = world.client("outsider").post("/orgs/rival/subscription", wish)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "plan")
    assert world.at_stripe() == []
