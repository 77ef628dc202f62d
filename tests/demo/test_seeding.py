"""The demo: a year of invoices, the same however often it is seeded."""

from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from billing.models import Invoice, InvoiceLine, Subscription
from quotas.models import PeriodUsage, PlanTerm
from spoke.core import tenancy
from spoke.demo.seeding import seed

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)


def found():
    with tenancy.all_organizations(reason="test"):
        invoices = Invoice.objects.order_by("period_start")
        return (
            [(row.number, row.status, row.total_minor) for row in invoices],
            list(PeriodUsage.objects.order_by("pk").values_list("period_id", "resource", "used")),
            list(PlanTerm.objects.order_by("pk").values_list("pk", "plan_id")),
            list(Subscription.objects.values_list("plan__code", "status", "current_period_end")),
        )


@pytest.fixture
def seeded(transactional_db, settings, tmp_path, time_machine):
    settings.STORAGE_DIR = tmp_path
    time_machine.move_to(NOW, tick=False)
    call_command("seed_plans", verbosity=0)
    return seed(known={}, now=NOW)


def test_a_year_of_invoices(seeded):
    invoices, _, _, subscriptions = found()
    assert [number for number, _, _ in invoices] == [
        "SPK-2025-000001",
        *(f"SPK-2026-{number:06}" for number in range(1, 12)),
    ]
    statuses = [status for _, status, _ in invoices]
    assert statuses == ["paid"] * 7 + ["void"] + ["paid"] * 4
    with tenancy.all_organizations(reason="test"):
        lines = InvoiceLine.objects.filter(invoice__number="SPK-2026-000004").order_by("position")
        upgrade = [line.description for line in lines]
        beyond = InvoiceLine.objects.filter(description__contains="beyond the plan")
        overage = list(beyond.values_list("amount_minor", flat=True))
    # The month of the upgrade, and the one that began on the dearer plan.
    assert upgrade == ["Pro, one month", "Unused time on Pro", "Remaining time on Enterprise"]
    assert invoices[5][2] == 49_900
    assert len(set(overage)) == len(overage) >= 7
    assert subscriptions == [("pro", "active", datetime(2026, 12, 1, tzinfo=UTC))]


def test_seeded_again_nothing_changes(seeded):
    before = found()
    again = seed(known=seeded, now=NOW)
    assert found() == before
    assert again == seeded
