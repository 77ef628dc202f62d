"""Every model of a charge from usage to the line of an invoice, and budgets that are held by them."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.tests.conftest import START, at, bills, lines, work_through
from orgs.context import SYSTEM
from quotas.charges import ChargeDefinition
from quotas.errors import BudgetExceeded
from quotas.models import BudgetAction
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services.budgets import set_budget
from quotas.services.plans import LimitDefinition, PlanDefinition, assign_plan, publish_plan
from quotas.services.reservations import reserve
from spoke.core import tenancy

D = Decimal
AFTER = at(4, 5) + timedelta(hours=1)
VOLUME = (Tier(D(5), D(7)), Tier(D(10), D("6.5")), Tier(None, D(6)))
GRADUATED = (Tier(D(10), D(10), D(2)), Tier(D(20), D(5), D(3)), Tier(None, D(5), D(3)))


def publish(currency="usd", month=1_000, **charge):
    limits = {resource: LimitDefinition(100) for resource in Resource}
    limits[Resource.COMPILE_JOBS] = LimitDefinition(0, overage=True)
    job = ChargeDefinition(**{"unit": "job", "unit_size": 1, "included": 0, **charge})
    return publish_plan(
        definition=PlanDefinition(
            code="measured",
            name="Measured",
            is_public=False,
            limits=limits,
            prices={(currency, "month"): month},
            charges={(Resource.COMPILE_JOBS, currency): job},
        ),
        now=START,
    )


def use(org_id, jobs):
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=jobs, now=START)


@pytest.mark.parametrize(
    ("charge", "jobs", "title", "minor"),
    [
        (
            {"model": "volume", "tiers": VOLUME},
            20,
            " (volume: to 5 at 7, to 10 at 6.5, above at 6)",
            12_000,
        ),
        (
            {"model": "graduated", "tiers": GRADUATED},
            21,
            " (graduated: to 10 at 10 + 2, to 20 at 5 + 3, above at 5 + 3)",
            16_300,
        ),
        (
            {"model": "package", "unit": "10 jobs", "unit_size": 10, "unit_amount": D("1.5")},
            21,
            " (1.5 for each started 10 jobs)",
            450,
        ),
        ({"model": "flat", "unit_amount": D("9.99")}, 1, " (flat)", 999),
        ({"model": "percentage", "unit_amount": D("2.9")}, 250, " (2.9%)", 725),
        ({"unit_amount": D("0.5"), "minimum": D(20)}, 3, " (at least 20)", 2_000),
        ({"unit_amount": D("0.5"), "maximum": D(20)}, 300, " (at most 20)", 2_000),
        # More than fits 28 digits with all its decimals.
        ({"unit_amount": D("1234.567891234567")}, 12_345, "", 1_524_074_062),
    ],
)
def test_a_line_says_what_it_costs_and_how(org_id, subscribe, charge, jobs, title, minor):
    publish(**charge)
    subscribe("measured")
    use(org_id, jobs)
    work_through(org_id, AFTER)
    assert lines(org_id, START) == [
        ("Measured, one month", 1_000),
        (f"Compile jobs beyond the plan{title}", minor),
    ]
    assert bills(org_id) == [("2026-03-05", 1_000 + minor, "open")]


def test_yen_and_dinar_have_their_own_units(org_id, subscribe):
    publish(currency="jpy", month=7_000, unit_amount=D("12.5"))
    subscribe("measured", currency="jpy")
    use(org_id, 3)
    work_through(org_id, AFTER)
    assert lines(org_id, START)[1] == ("Compile jobs beyond the plan", 38)
    assert bills(org_id) == [("2026-03-05", 7_038, "open")]


def test_a_plan_may_cost_only_what_is_used_of_it(org_id, subscribe):
    publish(month=0, unit_amount=D("0.25"))
    subscribe("measured")
    use(org_id, 9)
    work_through(org_id, AFTER)
    assert bills(org_id) == [("2026-03-05", 225, "open")]


def test_a_plan_by_hand_without_any_price_is_billed_for_what_is_used(org_id):
    plan = publish(month=0, unit_amount=D("0.25"))
    with tenancy.organization(org_id):
        assign_plan(org_id=org_id, plan=plan, actor=SYSTEM, now=START)
    use(org_id, 9)
    work_through(org_id, at(4, 1, 1, 0))
    assert bills(org_id) == [("2026-03-01", 225, "open")]


def test_a_budget_is_held_to_the_cent_where_more_costs_less_a_unit(org_id, subscribe):
    """Five at 7 are 35, six at 6.5 are 39: under 38.99 the sixth is refused, and nothing is counted."""
    publish(model="volume", tiers=VOLUME)
    subscribe("measured")
    with tenancy.organization(org_id):
        set_budget(
            org_id=org_id,
            actor=SYSTEM,
            amount_minor=3_899,
            currency="usd",
            action=BudgetAction.BLOCK,
            now=START,
        )
    use(org_id, 5)
    with pytest.raises(BudgetExceeded):
        use(org_id, 1)
    work_through(org_id, AFTER)
    assert lines(org_id, START)[1][1] == 3_500
