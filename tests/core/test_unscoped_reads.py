"""With the views' own scoping taken away, the database still shows no row of another organization."""

from datetime import timedelta
from itertools import chain
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from billing.models import (
    BillingDetails,
    Credit,
    CreditApplication,
    CreditNote,
    DunningNotice,
    Invoice,
    InvoiceLine,
    LineKind,
    PaymentMethod,
    StripeCustomer,
)
from billing.models.invoice import InvoiceQuerySet
from billing.services.subscriptions import start_subscription
from orgs.context import SYSTEM, Actor
from orgs.models import Organization
from orgs.models.audit import AuditQuerySet
from orgs.models.invitation import InvitationQuerySet
from orgs.models.member import MembershipQuerySet
from orgs.models.token import TokenQuerySet
from quotas.models import BudgetAction, Meter, MeterBucket, MeterDistinct, Plan, PlanOffer
from quotas.models.hold import HoldQuerySet
from quotas.models.usage import UsagePeriodQuerySet
from quotas.resources import Resource
from quotas.services.alert_settings import change_alerts
from quotas.services.alerts import evaluate_organization
from quotas.services.budgets import set_budget
from quotas.services.holds import place_hold
from quotas.services.ingestion import ingest_events
from quotas.services.usage import record_meter
from registry.models import CompileArtifact, ModuleQuerySet
from spoke.core import tenancy
from tests.factories import MembershipFactory, UserFactory

QUERYSETS = (
    AuditQuerySet,
    HoldQuerySet,
    InvitationQuerySet,
    InvoiceQuerySet,
    MembershipQuerySet,
    ModuleQuerySet,
    TokenQuerySet,
    UsagePeriodQuerySet,
)
TENANT_MODELS = [
    model
    for model in apps.get_models()
    if any(field.column == "org_id" for field in model._meta.concrete_fields)
]


def fill(cast, api, who: str, org) -> None:
    """Gives the organization a row in every tenant table, each marked with the organization's name."""
    client, staff = api(who), api("staff")
    url, mark = f"/orgs/{org.name}", f"{org.name}-only"
    colleague = UserFactory(email=f"{mark}@example.com")
    MembershipFactory(org=org, user=colleague, role="admin")
    files = [{"path": f"{mark}.proto", "content": f"// {mark}"}]
    version: dict[str, object] = {"version": "1.0.0", "files": files}
    base = {"version": "1.0.0", "files": [{"path": "base.proto", "content": ""}]}
    version["dependencies"] = [f"{mark}-base@1.0.0"]
    for sender, path, body in (
        (client, "/modules", {"name": mark}),
        (client, "/modules", {"name": f"{mark}-base"}),
        (client, f"/modules/{mark}-base/versions", base),
        (client, f"/modules/{mark}/versions", version),
        (client, "/invitations", {"email": f"new-{mark}@example.com", "role": "viewer"}),
        (client, "/tokens", {"name": mark, "scopes": ["read"], "role": "viewer"}),
        (client, "/transfer", {"user_id": colleague.pk}),
    ):
        key = {"Idempotency-Key": f"{path}-{body.get('name')}"}
        response = sender.post(url + path, body, format="json", headers=key)
        assert response.status_code == 201, (path, response.json())
    retired = f"{url}/modules/{mark}-base/versions"
    assert client.post(retired, base | {"version": "2.0.0"}).status_code == 201
    assert client.delete(f"{retired}/2.0.0").status_code == 204
    order = client.post(f"{url}/modules/{mark}/versions/1.0.0/compile", {"language": "python"})
    assert order.status_code == 202, order.json()
    override = {"max_modules": 7, "reason": mark}
    assert staff.patch(f"{url}/quotas", override, format="json").status_code == 200
    now = timezone.now()
    with tenancy.organization(org.pk):
        record_meter(org_id=org.pk, resource=Resource.COMPILE_JOBS, amount=3, at=now, now=now)
        fill_billing(org, mark, now)
        kept = {"created_at": now, "last_used_at": now, "size_bytes": 1, "files": 1}
        CompileArtifact.objects.create(org=org, digest="d" * 64, sha256="e" * 64, **kept)
        fill_alerts(org, colleague, now)
        fill_metering(org, mark, now)


def fill_billing(org, mark: str, now) -> None:
    """A subscription of its own and an invoice with a line."""
    plan = Plan.objects.current().get(code="pro")
    start_subscription(
        org_id=org.pk, plan=plan, interval="month", currency="usd", actor=SYSTEM, now=now
    )
    PlanOffer.objects.create(org=org, code=mark, created_at=now)
    StripeCustomer.objects.create(org=org, stripe_id=f"cus_{mark}", created_at=now)
    PaymentMethod.objects.create(org=org, stripe_id=f"pm_{mark}", kind="card", created_at=now)
    DunningNotice.objects.create(org=org, past_due_since=now, day=0, claimed_at=now)
    over = {"start": now - timedelta(days=30), "end": now}
    invoice = Invoice.objects.create(
        org=org,
        period_start=over["start"],
        period_end=over["end"],
        currency="usd",
        bill_to={"name": mark},
        created_at=now,
    )
    BillingDetails.objects.create(org=org, legal_name=mark, updated_at=now)
    credit = Credit.objects.create(
        org=org,
        currency="usd",
        amount_minor=1,
        remaining_minor=1,
        reason=mark,
        granted_by=mark,
        created_at=now,
    )
    CreditApplication.objects.create(
        org=org, credit=credit, invoice=invoice, amount_minor=1, applied_at=now
    )
    CreditNote.objects.create(
        org=org,
        invoice=invoice,
        number=mark,
        kind="refund",
        amount_minor=1,
        tax_minor=0,
        currency="usd",
        reason=mark,
        created_by=mark,
        created_at=now,
    )
    InvoiceLine.objects.create(
        org=org,
        invoice=invoice,
        position=1,
        kind=LineKind.BASE,
        description=mark,
        quantity=1,
        unit_amount=0,
        precise_amount=0,
        amount_minor=0,
        **over,
    )


def fill_alerts(org, colleague, now) -> None:
    """Thresholds of its own, one that fired, and somebody who wants no mail of it."""
    actor = Actor("user", colleague.pk, colleague.email, colleague)
    change_alerts(org_id=org.pk, actor=actor, now=now, thresholds={"modules": [1]}, email_me=False)
    assert evaluate_organization(org_id=org.pk, now=now) == 1


def fill_metering(org, mark: str, now) -> None:
    """Events and what is made of them, a budget and a reservation."""
    sent = {"idempotency_key": mark, "meter": "compile_seconds", "quantity": 1}
    events = [sent | {"timestamp": now.isoformat()}]
    assert ingest_events(org_id=org.pk, events=events, now=now).accepted == 1
    of_meter = {"org": org, "meter": Meter.objects.get(code="active_developers"), "start": now}
    MeterBucket.objects.create(**of_meter, span="hour", events=1, total=1, maximum=1, moment=0)
    MeterDistinct.objects.create(**of_meter, digest=uuid4())
    set_budget(
        org_id=org.pk,
        actor=SYSTEM,
        amount_minor=1,
        currency="usd",
        action=BudgetAction.NOTIFY,
        now=now,
    )
    place_hold(
        org_id=org.pk,
        resource=Resource.COMPILE_JOBS,
        amount=1,
        lifetime=timedelta(hours=1),
        reference=mark,
        now=now,
    )


@pytest.fixture
def two_tenants(cast, api):
    call_command("seed_plans", verbosity=0)
    fill(cast, api, "owner", cast.org)
    fill(cast, api, "outsider", cast.other_org)
    return cast


@pytest.fixture
def unscoped(monkeypatch):
    for queryset in QUERYSETS:
        monkeypatch.setattr(queryset, "for_org", lambda self, org_id: self.all())


def test_no_table_shows_a_row_of_another_organization(two_tenants):
    ours, theirs = two_tenants.org.pk, two_tenants.other_org.pk
    for model in TENANT_MODELS:
        assert {ours, theirs} <= set(model._default_manager.values_list("org_id", flat=True)), model
    with tenancy.organization(ours):
        for model in TENANT_MODELS:
            with connection.cursor() as cursor:
                cursor.execute(f'SELECT DISTINCT org_id FROM "{model._meta.db_table}"')
                assert cursor.fetchall() == [(ours,)], model
            assert model._default_manager.filter(org_id=theirs).update(org_id=theirs) == 0, model
            assert model._default_manager.filter(org_id=theirs)._raw_delete("default") == 0, model
        assert list(Organization.objects.all()) == [two_tenants.org]
    for model in TENANT_MODELS:
        assert model._default_manager.filter(org_id=theirs).exists(), model


@pytest.mark.parametrize(
    "path",
    [
        "members",
        "invitations",
        "tokens",
        "modules",
        "modules/acme-only/versions/1.0.0/compile",
        "audit-log",
        "invoices",
        "payment-methods",
        "quotas/reservations",
        "usage/history",
    ],
)
def test_a_list_without_its_filter_is_still_the_organizations_own(two_tenants, api, unscoped, path):
    client = api("owner")
    answer = client.get(f"/orgs/acme/{path}")
    assert answer.status_code == 200
    assert "rival" not in answer.content.decode()
    if path not in ("invoices", "usage/history"):
        assert "acme-only" in answer.content.decode()


@pytest.mark.parametrize("path", ["modules/rival-only", "modules/rival-only/versions/1.0.0"])
def test_a_row_of_another_organization_is_not_found_by_its_name(two_tenants, api, unscoped, path):
    assert api("owner").get(f"/orgs/acme/{path}").status_code == 404


def test_every_query_set_that_filters_by_organization_is_opened_here():
    scoping = {
        kind
        for manager in chain.from_iterable(model._meta.managers for model in apps.get_models())
        if hasattr(kind := getattr(manager, "_queryset_class", None), "for_org")
    }
    assert scoping == set(QUERYSETS)
