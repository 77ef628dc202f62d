"""The admin: everything can be looked at, and what changes goes through the services."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone

from orgs.context import Actor
from orgs.models import AuditEvent, Organization
from quotas import models
from quotas.resources import Resource
from quotas.services import periods, usage
from quotas.services.alert_settings import change_alerts
from quotas.services.alerts import fire
from quotas.services.holds import place_hold
from quotas.services.plans import plan_of
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW, override
from quotas.tests.events import event, ingest

MODELS = [
    models.Plan,
    models.PlanAssignment,
    models.LimitOverride,
    models.QuotaSettings,
    models.AlertSettings,
    models.Alert,
    models.AlertOptOut,
    models.UsageGauge,
    models.UsagePeriod,
    models.PeriodUsage,
    models.UsageBucket,
    models.GaugeChange,
    models.PlanTerm,
    models.Budget,
    models.Hold,
    models.FlushedGeneration,
    models.Meter,
    models.UsageEvent,
    models.EventKey,
    models.MeterBucket,
    models.MeterDistinct,
    models.RollupState,
    models.PlanOffer,
]
READ_ONLY = [models.Plan, *MODELS[4:-1]]


def url(model, page="changelist", *args) -> str:
    path = f"/admin/quotas/{model._meta.model_name}/"
    return path + "".join(f"{arg}/" for arg in args) + ("" if page == "changelist" else f"{page}/")


@pytest.fixture
def staff(cast, plans) -> Client:
    cast.staff.is_superuser = True
    cast.staff.save()
    client = Client()
    client.force_login(cast.staff, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def rows(cast, give):
    """One row of everything."""
    give("pro")
    override(cast.org.pk, Resource.MODULES, 3)
    models.QuotaSettings.objects.create(org=cast.org, updated_at=NOW)
    change_alerts(
        org_id=cast.org.pk,
        actor=Actor("user", cast.owner.pk, cast.owner.email, cast.owner),
        now=NOW,
        email_me=False,
    )
    period = periods.current_period(org_id=cast.org.pk, now=NOW)
    fire(
        org_id=cast.org.pk,
        period_id=period.pk,
        resource="storage",
        used=1,
        limit=2,
        thresholds=[50],
        now=NOW,
    )
    reserve(org_id=cast.org.pk, resource=Resource.STORAGE, amount=1, now=NOW)
    usage.record_meter(
        org_id=cast.org.pk, resource=Resource.COMPILE_JOBS, amount=1, at=NOW, now=NOW
    )
    models.Budget.objects.create(
        org=cast.org, amount_minor=1, currency="usd", action="block", updated_at=NOW
    )
    place_hold(
        org_id=cast.org.pk,
        resource=Resource.STORAGE,
        amount=1,
        lifetime=timedelta(hours=1),
        reference="r",
        now=NOW,
    )
    models.PlanOffer.objects.create(org=cast.org, code="custom", created_at=NOW)
    models.FlushedGeneration.objects.create(generation="1:2.3", flushed_at=NOW)
    events = [event(), event("active_developers", properties={"user": "u1"})]
    assert ingest(cast.org.pk, *events).accepted == 2
    models.RollupState.objects.create(horizon="0")
    meter = models.Meter.objects.get(code="active_developers")
    of_meter = {"org": cast.org, "meter": meter, "start": NOW}
    models.MeterBucket.objects.create(
        **of_meter, span="hour", events=1, total=1, maximum=1, moment=0
    )
    models.MeterDistinct.objects.create(**of_meter, digest=uuid4())


def test_every_model_has_its_admin():
    assert {model for model in admin.site._registry if model._meta.app_label == "quotas"} == set(
        MODELS
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_lists_searches_and_pages_open(staff, rows, model):
    assert staff.get(url(model)).status_code == 200
    assert staff.get(url(model), {"q": "acme"}).status_code == 200
    row = model.objects.first()
    assert staff.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda m: m.__name__)
def test_records_and_plans_are_read_only(staff, rows, model):
    row = model.objects.first()
    before = list(model.objects.values())
    assert staff.get(url(model, "add")).status_code == 403
    assert staff.post(url(model, "change", row.pk), {"used": 1}).status_code == 403
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert list(model.objects.values()) == before


def test_members_of_organizations_do_not_get_in(cast, plans):
    client = Client()
    client.force_login(cast.owner, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(url(models.LimitOverride)).status_code == 302


def test_assigning_a_plan_takes_effect_and_is_audited(staff, cast):
    pro = models.Plan.objects.get(code="pro")
    response = staff.post(url(models.PlanAssignment, "add"), {"org": cast.org.pk, "plan": pro.pk})
    assert response.status_code == 302, response.content
    assert plan_of(org_id=cast.org.pk) == pro
    assert Organization.objects.get(pk=cast.org.pk).plan_tier == "pro"
    free = models.Plan.objects.get(code="free")
    row = models.PlanAssignment.objects.get()
    staff.post(url(models.PlanAssignment, "change", row.pk), {"plan": free.pk})
    assert plan_of(org_id=cast.org.pk) == free
    events = AuditEvent.objects.filter(action="plan.assigned").order_by("pk")
    assert [(e.actor_kind, e.actor_id, e.data["new"]) for e in events] == [
        ("staff", cast.staff.pk, "pro v1"),
        ("staff", cast.staff.pk, "free v1"),
    ]
    delete = url(models.PlanAssignment, "delete", row.pk)
    assert staff.post(delete, {"post": "yes"}).status_code == 403


def test_overrides_are_set_changed_and_removed_and_audited(staff, cast):
    form = {"org": cast.org.pk, "resource": "modules", "limit": 9, "reason": "ticket"}
    response = staff.post(url(models.LimitOverride, "add"), form)
    assert response.status_code == 302, response.content
    row = models.LimitOverride.objects.get()
    assert (row.org_id, row.resource, row.limit, row.reason) == (
        cast.org.pk,
        "modules",
        9,
        "ticket",
    )
    response = staff.post(
        url(models.LimitOverride, "change", row.pk), {"limit": "", "reason": "more"}
    )
    assert response.status_code == 302, response.content
    row = models.LimitOverride.objects.get()
    assert (row.limit, row.reason) == (None, "more")
    response = staff.post(url(models.LimitOverride, "delete", row.pk), {"post": "yes"})
    assert response.status_code == 302
    assert not models.LimitOverride.objects.exists()
    events = AuditEvent.objects.filter(action="quotas.changed").order_by("pk")
    assert [event.data["new"]["max_modules"] for event in events] == [
        {"limit": 9, "expires_at": None, "reason": "ticket"},
        {"limit": None, "expires_at": None, "reason": "more"},
        None,
    ]
    assert {event.actor_id for event in events} == {cast.staff.pk}


def test_several_overrides_are_removed_at_once(staff, cast):
    ids = [
        override(cast.org.pk, resource, 1).pk for resource in (Resource.MODULES, Resource.STORAGE)
    ]
    response = staff.post(
        url(models.LimitOverride),
        {"action": "delete_selected", "_selected_action": ids, "post": "yes"},
    )
    assert response.status_code == 302
    assert not models.LimitOverride.objects.exists()
    assert AuditEvent.objects.filter(action="quotas.changed").count() == 2


def test_an_override_in_the_past_is_refused_in_the_form(staff, cast):
    past = timezone.now() - timedelta(days=1)
    form = {
        "org": cast.org.pk,
        "resource": "modules",
        "limit": 9,
        "expires_at_0": past.date().isoformat(),
        "expires_at_1": "00:00:00",
    }
    response = staff.post(url(models.LimitOverride, "add"), form)
    assert response.status_code == 200
    assert "The expiry must lie in the future." in response.content.decode()
    negative = staff.post(url(models.LimitOverride, "add"), form | {"limit": -1})
    assert "A limit is not negative." in negative.text
    assert "Constraint" not in negative.text
    assert not models.LimitOverride.objects.exists()


def test_custom_settings_are_audited(staff, cast):
    response = staff.post(
        url(models.QuotaSettings, "add"),
        {"org": cast.org.pk, "custom_settings": '{"contract": 7}'},
    )
    assert response.status_code == 302, response.content
    row = models.QuotaSettings.objects.get()
    assert (row.custom_settings, row.revision) == ({"contract": 7}, 2)
    event = AuditEvent.objects.get(action="quotas.changed")
    assert event.data["new"] == {"custom_settings": {"contract": 7}}


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": "\\u0000"}', '{"a": 1e400}', "[1]", '"x"'])
def test_custom_settings_that_cannot_be_kept_are_refused(staff, cast, text):
    form = {"org": cast.org.pk, "custom_settings": text}
    response = staff.post(url(models.QuotaSettings, "add"), form)
    assert response.status_code == 200
    assert re.search("cannot be stored|JSON object is expected", response.content.decode())
    assert not models.QuotaSettings.objects.exists()
