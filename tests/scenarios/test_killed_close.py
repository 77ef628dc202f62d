"""A worker is killed at each step of a period's close in turn; the next one finishes what it left."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.db import connection

from billing.models import Invoice
from billing.services.subscriptions import start_subscription
from orgs.context import SYSTEM
from orgs.models import AuditEvent
from quotas.models import Plan, UsagePeriod
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy
from tests.factories import OrganizationFactory
from tests.support.running import ROOT
from tests.support.stripe_world import utc

# More than a close has steps: the last ones run to the end.
ORGANIZATIONS = 40


@pytest.mark.slow
def test_killed_at_every_step_there_is_one_of_everything(world, settings):
    # Each step is to be finished by our own tasks, without a word from Stripe.
    world.control.drop_webhooks(100_000)
    ids = []
    for number in range(ORGANIZATIONS):
        with tenancy.all_organizations(reason="test"):
            org = OrganizationFactory(name=f"org-{number}", owner=world.cast.owner)
        wish = {"plan": "pro", "payment_method_id": "pm_card_visa"}
        answer = world.client().post(f"/orgs/{org.name}/subscription", wish)
        assert answer.status_code == 201
        with tenancy.organization(org.pk):
            reserve(org_id=org.pk, resource=Resource.COMPILE_JOBS, amount=1_100, now=world.at)
        ids.append(org.pk)
    now = utc(4, 5) + timedelta(hours=2)
    world.control.advance_to(now)
    ended = close_in_processes(now, ids, settings)
    killed = [code for code in ended if code == -9]
    # Each step was died at once, and then there was no further step.
    assert ended == [-9] * len(killed) + [0] * (ORGANIZATIONS - len(killed))
    assert 20 < len(killed) < ORGANIZATIONS
    world.at = now
    world._move(now)
    world.settle()
    check(world, ids)


@pytest.mark.slow
def test_a_set_that_is_killed_at_any_statement_has_written_nothing(committed_cast, settings):
    call_command("seed_plans", verbosity=0)
    start = utc(3, 5)
    with tenancy.all_organizations(reason="test"):
        pro = Plan.objects.current().get(code="pro")
        for number in range(12):
            org = OrganizationFactory(name=f"org-{number}", owner=committed_cast.owner)
            start_subscription(
                org_id=org.pk, plan=pro, interval="month", currency="usd", actor=SYSTEM, now=start
            )
            reserve(org_id=org.pk, resource=Resource.COMPILE_JOBS, amount=1_100, now=start)
    now = utc(4, 5) + timedelta(hours=2)
    output = in_a_process("killed_set", [now.isoformat()], settings)
    deaths = [line for line in output if line.startswith("died")]
    assert output[-1] == "ended 0"
    assert len(deaths) > 25
    # Either nothing of the batch is there, or, once it was committed, all of it.
    written = [int(line.split()[1]) for line in deaths]
    assert set(written) <= {0, 12}
    assert written == sorted(written)
    with tenancy.all_organizations(reason="test"):
        rows = list(Invoice.objects.order_by("number"))
        assert [row.number for row in rows] == [f"SPK-2026-{n:06}" for n in range(1, 13)]
        assert {(row.total_minor, row.status, row.lines.count()) for row in rows} == {
            (5_400, "open", 2)
        }
        assert AuditEvent.objects.filter(action="invoice.finalized").count() == 12
        assert not UsagePeriod.objects.filter(end__lte=now, closed_at=None).exists()


def close_in_processes(now, ids, settings) -> list[int]:
    output = in_a_process("killed_close", [now.isoformat(), *map(str, ids)], settings)
    return [int(line.split()[1]) for line in output]


def in_a_process(module, arguments, settings) -> list[str]:
    """What a module of tests.support prints, run on this test's database."""
    database = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "DATABASE_URL": f"{database}/{connection.settings_dict['NAME']}",
        "REDIS_URL": configured.REDIS_URL,
        "SPOKE_ENV": "test",
        "DJANGO_SETTINGS_MODULE": "spoke.settings",
        "STRIPE_SECRET_KEY": settings.STRIPE_SECRET_KEY,
        "STRIPE_API_HOST": settings.STRIPE_API_HOST,
        "LOG_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check(world, ids) -> None:
    with tenancy.all_organizations(reason="test"):
        rows = list(Invoice.objects.filter(source="usage", org_id__in=ids).order_by("number"))
    assert len(rows) == ORGANIZATIONS
    assert {row.org_id for row in rows} == set(ids)
    assert {(row.total_minor, row.status) for row in rows} == {(500, "paid")}
    numbers = [row.number for row in rows]
    assert numbers == [f"SPK-2026-{number:06}" for number in range(1, ORGANIZATIONS + 1)]
    ours = [
        row
        for row in world.fake.store.of("invoice").values()
        if row["metadata"].get("spoke_invoice")
    ]
    assert sorted(row["number"] for row in ours) == numbers
    assert {(row["total"], row["status"], len(row["lines"]["data"])) for row in ours} == {
        (500, "paid", 1)
    }
