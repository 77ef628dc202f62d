"""The file of plans is read strictly, and its mistakes are named."""

from decimal import Decimal

import pytest

from quotas.charges import ChargeDefinition
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services.plan_file import PLAN_FILE, PlanFileError, read_plans
from quotas.services.plans import LimitDefinition

FREE = """
[[plan]]
code = "free"
name = "Free"
[plan.limits]
modules = 5
versions = 50
storage = 100
compile_jobs = 10
api_requests = 1_000
"""
PRO = """
[[plan]]
code = "pro"
name = "Pro"
overage = ["storage"]
[plan.limits]
modules = 5
versions = 50
storage = 100
compile_jobs = 10
api_requests = "unlimited"
[plan.prices]
usd = { month = 4900 }
[plan.charges.storage]
unit = "GB"
unit_amount = { usd = 0.000000000001 }
"""


@pytest.fixture
def read(tmp_path):
    def write_and_read(text: str):
        path = tmp_path / "plans.toml"
        path.write_text(text)
        return read_plans(path)

    return write_and_read


def test_the_shipped_file_says_what_the_rules_say():
    plans = {plan.code: plan for plan in read_plans()}
    assert list(plans) == ["free", "pro", "enterprise", "custom"]
    assert [plan.is_public for plan in plans.values()] == [True, True, True, False]
    limits = {
        code: [plan.limits[resource].limit for resource in Resource] for code, plan in plans.items()
    }
    assert limits["free"] == [5, 50, 2**30, 100, 1_000]
    assert limits["pro"] == [50, 500, 10 * 2**30, 1_000, 10_000]
    assert limits["enterprise"] == [1_000, 10_000, 100 * 2**30, 100_000, 100_000]
    assert {
        code: sorted(resource for resource, limit in plan.limits.items() if limit.overage)
        for code, plan in plans.items()
    } == {
        "free": [],
        "pro": ["compile_jobs", "storage"],
        "enterprise": ["compile_jobs", "storage"],
        "custom": [],
    }
    for currency in ("usd", "eur"):
        assert plans["free"].prices[currency, "month"] == 0
        assert plans["pro"].prices[currency, "month"] == 4_900
        assert plans["enterprise"].prices[currency, "month"] == 49_900
        for code in ("free", "pro", "enterprise"):
            prices = plans[code].prices
            assert prices[currency, "year"] == 10 * prices[currency, "month"]
    pro, enterprise = plans["pro"].charges, plans["enterprise"].charges
    assert pro[Resource.STORAGE, "usd"] == ChargeDefinition(
        "GB-month", 2**30, 10 * 2**30, Decimal("5.00")
    )
    assert pro[Resource.COMPILE_JOBS, "eur"] == ChargeDefinition("job", 1, 1_000, Decimal("0.05"))
    assert pro[Resource.API_REQUESTS, "usd"] == ChargeDefinition(
        "1,000 requests", 1_000, 600_000, Decimal("0.10")
    )
    assert enterprise[Resource.STORAGE, "usd"].unit_amount == Decimal("3.00")
    assert enterprise[Resource.COMPILE_JOBS, "usd"].unit_amount == Decimal("0.03")
    assert enterprise[Resource.API_REQUESTS, "eur"] == ChargeDefinition(
        "1,000 requests", 1_000, 6_000_000, Decimal("0.05")
    )
    assert PLAN_FILE.name == "plans.toml"


def test_decimals_keep_every_digit_and_included_defaults_to_the_limit(read):
    _, pro = read(FREE + PRO)
    assert pro.charges[Resource.STORAGE, "usd"] == ChargeDefinition(
        "GB", 1, 100, Decimal("0.000000000001")
    )
    assert pro.limits[Resource.API_REQUESTS] == LimitDefinition(None, False)
    assert pro.position == 1


TIERS = """{ usd = [
    { up_to = 10, unit_amount = 5, flat_amount = 2 }, { up_to = 20.5, unit_amount = 4 }, {} ] }"""
TIERED = PRO.replace(
    "unit_amount = { usd = 0.000000000001 }",
    f'model = "graduated"\ntiers = {TIERS}\nminimum = {{ usd = 1.5 }}\nmaximum = {{ usd = 90 }}',
)


def test_every_model_of_a_charge_can_be_written(read):
    _, pro = read(FREE + TIERED)
    assert pro.charges[Resource.STORAGE, "usd"] == ChargeDefinition(
        "GB",
        1,
        100,
        model="graduated",
        tiers=(
            Tier(Decimal(10), Decimal(5), Decimal(2)),
            Tier(Decimal("20.5"), Decimal(4)),
            Tier(None, Decimal(0)),
        ),
        minimum=Decimal("1.5"),
        maximum=Decimal(90),
    )


@pytest.mark.parametrize("model", ["flat", "package", "percentage"])
def test_a_charge_without_tiers_of_another_model(read, model):
    _, pro = read(FREE + PRO.replace('unit = "GB"', f'unit = "GB"\nmodel = "{model}"'))
    charge = pro.charges[Resource.STORAGE, "usd"]
    assert (charge.model, charge.unit_amount) == (model, Decimal("0.000000000001"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no [[plan]] in it"),
        ("x = 1\n" + FREE, "the file: unknown x"),
        ("[[plan]\n", "plans.toml"),
        (PRO, "the plan 'free' is missing"),
        (FREE + FREE, "two plans have the same code"),
        (FREE.replace('code = "free"', 'code = "Free!"'), "plan number 1: code"),
        (FREE.replace('name = "Free"', "name = 1"), "plan free: name"),
        (FREE.replace('name = "Free"', 'name = "F"\npublic = 1'), "public is true or false"),
        (FREE.replace('name = "Free"', 'name = "F"\ncolour = 1'), "plan free: unknown colour"),
        (FREE.replace("modules = 5\n", ""), "plan free: limits lacks modules"),
        (FREE.replace("modules = 5", "modules = -1"), "limits.modules: a whole number from 0"),
        (FREE.replace("modules = 5", "modules = true"), "limits.modules: a whole number"),
        (FREE.replace("modules = 5", "modules = 5.5"), "limits.modules: a whole number"),
        (FREE.replace("modules = 5", f"modules = {2**63}"), "limits.modules: a whole number"),
        (FREE.replace("modules = 5", "modules = 5\nseats = 1"), "limits: unknown seats"),
        (
            FREE.replace("[plan.limits]", 'overage = ["modules"]\n[plan.limits]'),
            "overage is a list",
        ),
        (FREE + PRO.replace("usd = { month = 4900 }", "usd = { month = 49.00 }"), "minor units"),
        (FREE + PRO.replace("usd = { month", "usd = { week"), "prices.usd: unknown week"),
        (FREE + PRO.replace("usd = { month", "dollar = { month"), "'dollar' is no currency"),
        (
            FREE + PRO.replace("usd = { month", "eur = { month"),
            "overage of storage has no charge in eur",
        ),
        (FREE + PRO.replace("0.000000000001", "0.0000000000001"), "at most 12 decimals"),
        (FREE + PRO.replace("0.000000000001", "-1"), "an amount from 0"),
        (FREE + PRO.replace("0.000000000001", "nan"), "an amount from 0"),
        (FREE + PRO.replace("0.000000000001", '"1"'), "a number is expected"),
        (FREE + PRO.replace("charges.storage", "charges.seats"), "unknown resource 'seats'"),
        (FREE + PRO.replace("usd", "usx"), "'usx' is no currency"),
        (FREE + TIERED.replace("graduated", "stairs"), "model is one of flat, per_unit"),
        (FREE + TIERED.replace("graduated", "per_unit"), "unit_amount: a table is expected"),
        (FREE + PRO.replace("unit =", 'model = "volume"\nunit ='), "tiers: a table is expected"),
        (FREE + TIERED.replace(", {} ]", " ]"), "the last tier, and only the last, has no bound"),
        (FREE + TIERED.replace("20.5", "9"), "the bounds of tiers rise"),
        (FREE + TIERED.replace(TIERS, "{ usd = [] }"), "a list of tiers is expected"),
        (FREE + TIERED.replace("{} ]", "{ price = 1 } ]"), "tier 3: unknown price"),
        (FREE + TIERED.replace("usd = 90", "usd = 1"), "the minimum is not above the maximum"),
        (FREE + TIERED.replace("usd = 90", "eur = 90"), "charges.storage.maximum: unknown eur"),
    ],
)
def test_a_mistake_is_named(read, text, message):
    with pytest.raises(PlanFileError) as caught:
        read(text)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PlanFileError, match=r"nothing\.toml: No such file"):
        read_plans(tmp_path / "nothing.toml")
