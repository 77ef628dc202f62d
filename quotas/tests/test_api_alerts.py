"""GET|PUT /orgs/{id}/alerts."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.models import AuditEvent
from quotas import tasks
from quotas.models import Alert, AlertOptOut, AlertSettings
from quotas.resources import Resource
from quotas.services.alert_settings import thresholds_of
from quotas.services.alerts import evaluate_organization
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("plans")
URL = "/orgs/acme/alerts"
DEFAULT = [50, 80, 100]
THRESHOLDS = {
    "modules": DEFAULT,
    "storage": DEFAULT,
    "compile_jobs": DEFAULT,
    "api_requests": DEFAULT,
    "overage": DEFAULT,
}


def nothing_changed():
    return not (
        AlertSettings.objects.filter(revision__gt=1).exists()
        or AlertOptOut.objects.exists()
        or AuditEvent.objects.filter(action="alerts.changed").exists()
    )


@pytest.mark.parametrize(("who", "email_me"), [("owner", True), ("admin", True), ("staff", False)])
def test_the_default_thresholds_are_there_without_a_row(api, who, email_me):
    response = api(who).get(URL)
    assert response.status_code == 200
    assert response.json() == {"thresholds": THRESHOLDS, "email_me": email_me, "fired": []}
    assert not AlertSettings.objects.exists()


@pytest.mark.parametrize("who", ["developer", "viewer"])
def test_others_neither_read_nor_change_them(api, who):
    for response in (api(who).get(URL), api(who).put(URL, {"thresholds": {"modules": []}})):
        assert response.status_code == 403
        assert response.json()["code"] == "permission_denied"
    assert nothing_changed()


def test_outsiders_see_nothing(api):
    assert api("outsider").get(URL).status_code == 404
    assert api("outsider").put(URL, {"email_me": False}).status_code == 404
    assert nothing_changed()


def test_only_what_is_sent_changes_and_null_brings_the_default_back(api, cast):
    owner = api("owner")
    sent = {"modules": [90, 10, 90], "compile_jobs": [], "overage": [1000]}
    response = owner.put(URL, {"thresholds": sent})
    assert response.status_code == 200
    changed = THRESHOLDS | {"modules": [10, 90], "compile_jobs": [], "overage": [1000]}
    assert response.json() == {"thresholds": changed, "email_me": True, "fired": []}
    assert thresholds_of(org_id=cast.org.pk) == changed
    body = api("staff").put(URL, {"thresholds": {"modules": None, "storage": [1]}}).json()
    changed |= {"modules": DEFAULT, "storage": [1]}
    assert body["thresholds"] == owner.get(URL).json()["thresholds"] == changed
    assert AlertSettings.objects.get().thresholds == {
        "compile_jobs": [],
        "overage": [1000],
        "storage": [1],
    }
    first, second = AuditEvent.objects.filter(action="alerts.changed").order_by("pk")
    assert (first.actor_label, second.actor_label) == ("owner@example.com", "staff@example.com")
    assert first.data == {
        "old": {"modules": None, "compile_jobs": None, "overage": None},
        "new": {"modules": [10, 90], "compile_jobs": [], "overage": [1000]},
    }
    assert second.data == {
        "old": {"modules": [10, 90], "storage": None},
        "new": {"modules": None, "storage": [1]},
    }


def test_the_same_again_changes_nothing(api):
    owner = api("owner")
    owner.put(URL, {"thresholds": {"modules": [10]}})
    again = owner.put(URL, {"thresholds": {"modules": [10, 10]}, "email_me": True})
    assert again.status_code == 200
    assert owner.put(URL, {}).status_code == 200
    assert AlertSettings.objects.get().revision == 2
    assert AuditEvent.objects.filter(action="alerts.changed").count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"thresholds": {"modules": [0]}}, "thresholds.modules.0"),
        ({"thresholds": {"modules": [50, 1001]}}, "thresholds.modules.1"),
        ({"thresholds": {"modules": [1.5]}}, "thresholds.modules.0"),
        ({"thresholds": {"modules": [True]}}, "thresholds.modules.0"),
        ({"thresholds": {"modules": ["half"]}}, "thresholds.modules.0"),
        ({"thresholds": {"modules": list(range(1, 12))}}, "thresholds.modules"),
        ({"thresholds": {"modules": 50}}, "thresholds.modules"),
        ({"thresholds": {"versions": [50]}}, "thresholds.versions"),
        ({"thresholds": {"cpu": [50]}}, "thresholds.cpu"),
        ({"thresholds": [50]}, "thresholds"),
        ({"thresholds": None}, "thresholds"),
        ({"email_me": None}, "email_me"),
        ({"email_me": "perhaps"}, "email_me"),
        ({"fired": []}, "fired"),
        ({"threshold": {}}, "threshold"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(api, body, field):
    response = api("owner").put(URL, body)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert nothing_changed()


def test_each_says_for_themselves_whether_they_want_mail(api, cast):
    assert api("owner").put(URL, {"email_me": False}).json()["email_me"] is False
    assert api("owner").put(URL, {"email_me": False}).status_code == 200
    assert api("admin").get(URL).json()["email_me"] is True
    assert list(AlertOptOut.objects.values_list("org_id", "user_id")) == [
        (cast.org.pk, cast.owner.pk)
    ]
    assert api("owner").put(URL, {"email_me": True}).json()["email_me"] is True
    assert not AlertOptOut.objects.exists()
    events = AuditEvent.objects.filter(action="alerts.changed").order_by("pk")
    assert [event.data["new"] for event in events] == [{"email_me": False}, {"email_me": True}]


def test_who_is_never_told_cannot_ask_for_mail(api, cast):
    refused = api("staff").put(URL, {"email_me": True, "thresholds": {"modules": [1]}})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "email_me"
    assert nothing_changed()
    assert api("staff").put(URL, {"email_me": False}).status_code == 200
    assert nothing_changed()


def test_a_service_token_changes_thresholds_and_gets_no_mail(api, cast):
    made = api("owner").post(
        "/orgs/acme/tokens", {"name": "ops", "role": "admin", "scopes": ["admin"]}
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}")
    answer = client.put(URL, {"thresholds": {"modules": [5]}})
    assert (answer.status_code, answer.json()["email_me"]) == (200, False)
    assert AuditEvent.objects.get(action="alerts.changed").actor_kind == "token"
    assert client.put(URL, {"email_me": True}).status_code == 400


def test_what_fired_in_this_period_is_shown_latest_first(api, cast):
    with time_machine.travel(NOW, tick=False):
        client = api("owner")
        reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=4, now=NOW)
        evaluate_organization(org_id=cast.org.pk, now=NOW)
        later = NOW + timedelta(minutes=1)
        reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=1, now=later)
        evaluate_organization(org_id=cast.org.pk, now=later)
        body = client.get(URL).json()
    early = {"resource": "modules", "used": 4, "limit": 5, "fired_at": "2026-11-23T14:20:00Z"}
    late = {"resource": "modules", "used": 5, "limit": 5, "fired_at": "2026-11-23T14:21:00Z"}
    assert body["fired"] == [
        late | {"threshold": 100},
        early | {"threshold": 80},
        early | {"threshold": 50},
    ]
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC), tick=False):
        assert client.get(URL).json()["fired"] == []


def test_new_thresholds_are_looked_at_at_once(api, cast, django_capture_on_commit_callbacks):
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=1, now=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        api("owner").put(URL, {"thresholds": {"modules": [20]}})
    assert list(Alert.objects.values_list("resource", "threshold")) == [("modules", 20)]
    assert tasks.evaluate_alerts() == 0


def test_if_match_is_honoured_whatever_fired_meanwhile(api, cast):
    owner = api("owner")
    tag = owner.get(URL).headers["ETag"]
    assert tag.startswith(f'"alerts-{cast.org.pk}-1.')
    now = timezone.now()
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=5, now=now)
    evaluate_organization(org_id=cast.org.pk, now=now)
    assert owner.get(URL, HTTP_IF_NONE_MATCH=tag).status_code == 200
    change = {"thresholds": {"modules": [7]}}
    assert owner.put(URL, change, HTTP_IF_MATCH=tag).status_code == 200
    refused = owner.put(URL, {"thresholds": {"modules": [8]}}, HTTP_IF_MATCH=tag)
    assert refused.status_code == 412
    assert refused.json()["code"] == "precondition_failed"
    assert AlertSettings.objects.get().thresholds == {"modules": [7]}
    fresh = owner.get(URL).headers["ETag"]
    assert owner.get(URL, HTTP_IF_NONE_MATCH=fresh).status_code == 304
    assert owner.put(URL, {"thresholds": {"modules": [8]}}, HTTP_IF_MATCH=fresh).status_code == 200
