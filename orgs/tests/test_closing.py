"""Closing, reopening, suspending and purging."""

import threading
from datetime import timedelta

import time_machine
from celery import current_app
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from conftest import door
from orgs.context import SYSTEM, Actor
from orgs.models import (
    ApiToken,
    AuditEvent,
    Invitation,
    Organization,
    OrganizationStatus,
    OwnershipTransfer,
    RetiredName,
)
from orgs.services.organizations import (
    purge_organization,
    reactivate_organization,
    suspend_organization,
)
from orgs.tasks import purge_closed_organizations
from orgs.tests.helpers import at_once, audited
from tests.support.waiting import one_waits


def fill(cast) -> None:
    """Something of every kind in the cast's organization, through the API."""
    call_command("seed_plans", verbosity=0)
    owner = cast.client("owner")
    calls = [
        ("/orgs/acme/invitations", {"email": "someone@x.example", "role": "viewer"}),
        ("/orgs/acme/tokens", {"name": "ci"}),
        ("/orgs/acme/transfer", {"email": "admin@example.com"}),
        ("/orgs/acme/modules", {"name": "robots"}),
        (
            "/orgs/acme/modules/robots/versions",
            {
                "version": "1.0.0",
                "files": [{"path": "a.proto", "content": 'syntax = "proto3";\n'}],
            },
        ),
    ]
    for number, (path, body) in enumerate(calls):
        headers = {"Idempotency-Key": f"fill-{number}"}
        response = owner.post(path, body, headers=headers)
        assert response.status_code == 201, response.content
    order = owner.post("/orgs/acme/modules/robots/versions/1.0.0/compile", {"language": "python"})
    assert order.status_code == 202, order.content
    # By its name: registry stands above.
    current_app.tasks["registry.tasks.run_compile_job"](cast.org.pk, order.json()["id"])
    response = cast.client("staff").patch("/orgs/acme/quotas", {"max_modules": 7})
    assert response.status_code == 200, response.content
    assert owner.get("/orgs/acme/usage").status_code == 200
    event = {
        "idempotency_key": "fill",
        "meter": "compile_jobs",
        "quantity": 1,
        "timestamp": timezone.now().isoformat(),
    }
    sent = owner.post("/orgs/acme/usage/events", {"events": [event]})
    assert sent.json()["accepted"] == 1, sent.content
    hold = owner.post("/orgs/acme/quotas/reservations", {"resource": "storage", "amount": 1})
    assert hold.status_code == 201, hold.content
    for path, body in (
        ("/orgs/acme/budget", {"amount_cents": 1}),
        ("/orgs/acme/alerts", {"thresholds": {"storage": [1]}, "email_me": False}),
    ):
        response = owner.put(path, body)
        assert response.status_code == 200, response.content


def test_closing_ends_what_could_still_be_used(cast, api, settings, tmp_path):
    fill(cast)
    owner = api("owner")
    closed = owner.delete("/orgs/acme")
    assert closed.status_code == 200
    body = closed.json()
    assert body["status"] == "closed"
    assert body["purge_after"] > body["closed_at"]
    assert list(Invitation.objects.values_list("status", flat=True)) == ["revoked"]
    assert not ApiToken.objects.filter(org=cast.org, revoked_at__isnull=True).exists()
    assert list(OwnershipTransfer.objects.values_list("status", flat=True)) == ["cancelled"]
    assert owner.delete("/orgs/acme").json() == body
    assert [row[0] for row in audited(cast.org, "organization.")] == ["organization.closed"]
    for kind, event in (
        ("invitation.", "revoked"),
        ("token.", "revoked"),
        ("transfer.", "cancelled"),
    ):
        assert [row[0] for row in audited(cast.org, kind)][1:] == [f"{kind}{event}"]
    refused = owner.post("/orgs/acme/modules", {"name": "late"})
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_closed")
    assert [org["status"] for org in owner.get("/orgs").json()["results"]] == ["closed"]
    assert api("admin").get("/orgs").json()["results"] == []


def test_an_owner_reopens_within_thirty_days(cast, api):
    owner = api("owner")
    owner.delete("/orgs/acme")
    reopened = owner.post("/orgs/acme/reopen")
    assert (reopened.status_code, reopened.json()["status"]) == (200, "active")
    assert reopened.json()["purge_after"] is None
    assert api("developer").get("/orgs/acme").status_code == 200


def test_after_thirty_days_it_is_too_late_and_every_row_goes(cast, api):
    fill(cast)
    other_rows = rows_of(cast.other_org.pk)
    owner = api("owner")
    owner.delete("/orgs/acme")
    assert purge_organization(org_id=cast.org.pk, now=timezone.now()) is False
    with time_machine.travel(timezone.now() + timedelta(days=30), tick=False):
        late = owner.post("/orgs/acme/reopen")
        assert (late.status_code, late.json()["code"]) == (409, "purge_due")
        purge_closed_organizations()
        assert purge_organization(org_id=cast.org.pk, now=timezone.now()) is False
    assert rows_of(cast.org.pk) == {}
    assert rows_of(cast.other_org.pk) == other_rows
    assert owner.get("/orgs/acme").status_code == 404
    # Who pulls modules by the name would get another's.
    again = owner.post("/orgs", {"name": "acme"})
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert not Organization.objects.filter(name="acme").exists()
    RetiredName.objects.get(name="acme").delete()
    assert owner.post("/orgs", {"name": "acme"}).status_code == 201


def test_a_name_that_is_retired_meanwhile_is_not_taken(committed_cast):
    """Somebody asks for the name while the purge of its last owner is not committed yet."""
    client, answers = committed_cast.client("outsider"), []

    def ask():
        answers.append(client.post("/orgs", {"name": "acme"}, format="json"))
        connection.close()

    thread = threading.Thread(target=ask)
    with door(), transaction.atomic():
        Organization.objects.filter(pk=committed_cast.org.pk).update(
            status="closed", closed_at=timezone.now(), purge_after=timezone.now()
        )
        assert purge_organization(org_id=committed_cast.org.pk, now=timezone.now())
        thread.start()
        assert one_waits()
    thread.join(10)
    assert [(row.status_code, row.json()["code"]) for row in answers] == [(409, "name_taken")]
    with door():
        assert not Organization.objects.filter(name="acme").exists()


def rows_of(org_id: int) -> dict[str, int]:
    """How many rows of an organization each table has."""
    found = {}
    for model in apps.get_models():
        if any(field.column == "org_id" for field in model._meta.concrete_fields):
            with connection.cursor() as cursor:
                table = model._meta.db_table
                cursor.execute(f'SELECT count(*) FROM "{table}" WHERE org_id = %s', [org_id])
                found[table] = cursor.fetchone()[0]
    return {table: count for table, count in found.items() if count}


def test_the_purge_meets_something_in_every_tenant_table(cast):
    fill(cast)
    assert set(rows_of(cast.org.pk)) >= {
        "core_idempotencyrecord",
        "orgs_membership",
        "orgs_invitation",
        "orgs_apitoken",
        "orgs_auditevent",
        "orgs_ownershiptransfer",
        "quotas_limitoverride",
        "quotas_usagegauge",
        "quotas_usageperiod",
        "registry_module",
        "registry_version",
        "registry_versionfile",
        "registry_blob",
        "registry_compilejob",
        "registry_compileartifact",
    }


def test_a_suspended_organization_can_be_read_and_left(cast, api):
    now = timezone.now()
    suspend_organization(org=cast.org, actor=SYSTEM, reason="Unpaid.", now=now)
    body = api("viewer").get("/orgs/acme").json()
    assert (body["status"], body["status_reason"]) == ("suspended", "Unpaid.")
    path = f"/orgs/acme/members/{cast.viewer.pk}"
    assert api("viewer").delete(path).status_code == 204
    refused = api("owner").patch("/orgs/acme", {"description": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")
    reactivate_organization(org=cast.org, actor=SYSTEM, now=now)
    assert api("owner").patch("/orgs/acme", {"description": "x"}).status_code == 200


def test_reopening_is_no_way_around_a_suspension_by_staff(cast, api):
    staff, now = Actor("staff", cast.staff.pk, cast.staff.email), timezone.now()
    suspend_organization(org=cast.org, actor=staff, reason="Spam.", now=now)
    owner = api("owner")
    assert owner.delete("/orgs/acme").json()["status"] == "closed"
    reopened = owner.post("/orgs/acme/reopen").json()
    assert (reopened["status"], reopened["status_reason"]) == ("suspended", "Spam.")
    refused = owner.post("/orgs/acme/invitations", {"email": "a@x.example"})
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")
    assert not Invitation.objects.exists()
    reactivate_organization(org=cast.org, actor=staff, now=now)
    owner.delete("/orgs/acme")
    assert owner.post("/orgs/acme/reopen").json()["status"] == "active"


def test_a_suspension_that_spoke_made_by_itself_is_not_kept_over_a_closing(cast, api):
    suspend_organization(org=cast.org, actor=SYSTEM, reason="Overdue.", now=timezone.now())
    owner = api("owner")
    owner.delete("/orgs/acme")
    assert owner.post("/orgs/acme/reopen").json()["status"] == "active"


def test_staff_suspend_what_is_suspended_for_another_reason(cast):
    staff, now = Actor("staff", cast.staff.pk, cast.staff.email), timezone.now()
    for actor, reason in (
        (SYSTEM, "Overdue."),
        (staff, "Spam."),
        (SYSTEM, "Overdue."),
        (staff, ""),
    ):
        suspend_organization(org=cast.org, actor=actor, reason=reason, now=now)
    org = Organization.objects.get(pk=cast.org.pk)
    assert (org.status, org.status_reason, org.staff_hold) == ("suspended", "Spam.", "Spam.")
    assert [row[0] for row in audited(cast.org, "organization.")] == ["organization.suspended"] * 2


def test_closing_at_once_is_done_once(committed_cast):
    cast = committed_cast
    clients = [cast.client("owner") for _ in range(4)]
    answers = at_once(*[lambda c=c: c.delete("/orgs/acme").json() for c in clients])
    assert all(answer == answers[0] for answer in answers)
    with door():
        assert AuditEvent.objects.filter(action="organization.closed").count() == 1
        org = Organization.objects.get(pk=cast.org.pk)
        assert (org.status, org.revision) == (OrganizationStatus.CLOSED, 2)
