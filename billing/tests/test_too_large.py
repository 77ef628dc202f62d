"""An amount that no invoice can say is one organization's affair."""

from decimal import Decimal

from django.db import DataError

from billing.models import Invoice
from billing.services import invoicing
from billing.tests.test_set_close import DAY, START, drafted, finalized
from orgs.context import SYSTEM
from quotas.charges import ChargeDefinition
from quotas.resources import Resource
from quotas.services.period_close import close_periods
from quotas.services.periods import restart_period
from quotas.services.plans import LimitDefinition, PlanDefinition, assign_plan, publish_plan
from quotas.services.reservations import reserve
from spoke.core import tenancy
from tests.factories import OrganizationFactory


def test_who_owes_more_than_can_be_written_keeps_nobody_from_their_invoice(cast, org_id, subscribe):
    subscribe("pro", now=START)
    absurd = ChargeDefinition("job", unit_size=1, included=0, unit_amount=Decimal(10**11))
    limits = {r: LimitDefinition(None) for r in Resource}
    plan = publish_plan(
        definition=PlanDefinition(
            code="absurd",
            name="Absurd",
            limits=limits,
            charges={(Resource.COMPILE_JOBS, "usd"): absurd},
        ),
        now=START,
    )
    other = OrganizationFactory(name="absurd", owner=cast.owner)
    with tenancy.organization(other.pk):
        assign_plan(org_id=other.pk, plan=plan, actor=SYSTEM, now=START)
        restart_period(org_id=other.pk, anchor=START, now=START)
        reserve(org_id=other.pk, resource=Resource.COMPILE_JOBS, amount=10**9, now=START)
    now = START + 32 * DAY
    close_periods(now=now, most=100)
    assert (drafted(now), finalized(now)) == (0, 0)
    refused = []
    for due, start in invoicing.due_for_draft(now=now):
        try:
            with tenancy.organization(due):
                invoicing.draft_invoice(org_id=due, period_start=start, now=now)
        except DataError:
            refused.append(due)
    assert set(refused) == {other.pk}
    for due, invoice_id in invoicing.due_for_number():
        with tenancy.organization(due):
            invoicing.finalize_invoice(org_id=due, invoice_id=invoice_id, now=now)
    assert Invoice.objects.get(number__isnull=False).org_id == org_id
