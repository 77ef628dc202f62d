"""GET|PUT|PATCH /orgs/{id}/quotas."""

from datetime import timedelta

import pytest
from django.utils import timezone

from orgs.models import AuditEvent
from quotas.models import LimitOverride, QuotaSettings
from quotas.resources import Resource
from quotas.services.reservations import reserve

pytestmark = pytest.mark.usefixtures("plans")
URL = "/orgs/acme/quotas"


def limit_of(body, resource):
    return next(row for row in body["limits"] if row["resource"] == resource)


def nothing_changed():
    return not (
        LimitOverride.objects.exists()
        or QuotaSettings.objects.exists()
        or AuditEvent.objects.filter(action="quotas.changed").exists()
    )


@pytest.mark.parametrize("who", ["owner", "admin", "developer", "viewer", "staff"])
def test_members_and_staff_read_the_limits(api, cast, who):
    now = timezone.now()
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=2, now=now)
    reserve(org_id=cast.org.pk, resource=Resource.VERSIONS, amount=3, now=now, subject=1)
    reserve(org_id=cast.org.pk, resource=Resource.VERSIONS, amount=4, now=now, subject=2)
    reserve(org_id=cast.org.pk, resource=Resource.COMPILE_JOBS, amount=7, now=now)
    requests = 0 if who == "staff" else 1
    response = api(who).get(URL)
    assert response.status_code == 200
    rows = [
        ("modules", 5, "modules", 2),
        ("versions", 50, "versions of a module", 4),
        ("storage", 1073741824, "bytes", 0),
        ("compile_jobs", 100, "jobs a month", 7),
        ("api_requests", 1000, "requests an hour", requests),
    ]
    assert response.json() == {
        "max_modules": 5,
        "max_versions_per_module": 50,
        "max_storage_bytes": 1073741824,
        "max_compile_jobs_per_month": 100,
        "api_rate_limit_per_hour": 1000,
        "custom_settings": {},
        "plan": "free",
        "plan_version": 1,
        "limits": [
            {
                "resource": resource,
                "limit": limit,
                "unit": unit,
                "source": "plan",
                "overage": False,
                "used": used,
                "remaining": limit - used,
                "override_expires_at": None,
            }
            for resource, limit, unit, used in rows
        ],
    }


def test_outsiders_see_nothing(api):
    for method in ("get", "put", "patch"):
        assert getattr(api("outsider"), method)(URL, {"max_modules": 1}).status_code == 404
    assert nothing_changed()


@pytest.mark.parametrize("who", ["owner", "admin", "developer", "viewer"])
@pytest.mark.parametrize("method", ["put", "patch"])
def test_only_staff_change_limits(api, who, method):
    response = getattr(api(who), method)(URL, {"max_modules": 1_000_000})
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"
    assert nothing_changed()


@pytest.mark.parametrize("method", ["put", "patch"])
def test_staff_override_what_they_send_and_nothing_else(api, cast, method):
    expiry = (timezone.now() + timedelta(days=30)).replace(microsecond=0)
    response = getattr(api("staff"), method)(
        URL,
        {
            "max_modules": 9,
            "max_storage_bytes": None,
            "custom_settings": {"contract": "2026-117"},
            "expires_at": expiry.isoformat(),
            "reason": "ticket 117",
        },
    )
    assert response.status_code == 200
    body = response.json()
    assert (body["max_modules"], body["max_storage_bytes"]) == (9, None)
    assert body["max_versions_per_module"] == 50
    assert body["custom_settings"] == {"contract": "2026-117"}
    assert limit_of(body, "modules") == {
        "resource": "modules",
        "limit": 9,
        "unit": "modules",
        "source": "override",
        "overage": False,
        "used": 0,
        "remaining": 9,
        "override_expires_at": expiry.isoformat().replace("+00:00", "Z"),
    }
    storage = limit_of(body, "storage")
    assert (storage["limit"], storage["remaining"], storage["source"]) == (None, None, "override")
    event = AuditEvent.objects.get(action="quotas.changed")
    assert (event.org_id, event.actor_kind) == (cast.org.pk, "staff")
    assert (event.actor_id, event.actor_label) == (cast.staff.pk, "staff@example.com")
    assert event.data["new"]["max_modules"]["limit"] == 9
    assert event.data["reason"] == "ticket 117"
    assert event.request_id == response.headers["X-Request-ID"]
    # The owner sees it, and it applies at once.
    assert api("owner").get(URL).json()["max_modules"] == 9
    assert reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=9, now=timezone.now()) == 9


def test_resetting_brings_the_plans_limit_back(api):
    api("staff").put(URL, {"max_modules": 9, "api_rate_limit_per_hour": 7})
    body = api("staff").patch(URL, {"reset": ["max_modules"]}).json()
    assert (body["max_modules"], limit_of(body, "modules")["source"]) == (5, "plan")
    assert body["api_rate_limit_per_hour"] == 7


def test_an_empty_change_changes_nothing(api):
    response = api("staff").put(URL, {})
    assert response.status_code == 200
    assert not LimitOverride.objects.exists()
    assert not AuditEvent.objects.filter(action="quotas.changed").exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_modules": -1}, "max_modules"),
        ({"max_modules": 2**63}, "max_modules"),
        ({"max_modules": 1.5}, "max_modules"),
        ({"max_modules": True}, "max_modules"),
        ({"max_modules": "many"}, "max_modules"),
        ({"max_module": 1}, "max_module"),
        ({"plan": "enterprise"}, "plan"),
        ({"reset": ["plan"]}, "reset.0"),
        ({"reset": "max_modules"}, "reset"),
        ({"reset": ["max_modules"], "max_modules": 3}, "reset"),
        ({"expires_at": "tomorrow", "max_modules": 3}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z", "max_modules": 3}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"custom_settings": []}, "custom_settings"),
        ({"custom_settings": {"a": "x" * 20_000}}, "custom_settings"),
        ({"reason": "x" * 501, "max_modules": 3}, "reason"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(api, body, field):
    response = api("staff").put(URL, body)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert nothing_changed()


def test_if_match_is_honoured_whatever_was_used_meanwhile(api, cast):
    staff = api("staff")
    read = staff.get(URL)
    tag = read.headers["ETag"]
    assert tag.startswith(f'"quotas-{cast.org.pk}-1.')
    reserve(org_id=cast.org.pk, resource=Resource.MODULES, amount=1, now=timezone.now())
    # The answer differs, so it is sent again; the limits do not, so the tag still matches them.
    again = staff.get(URL, HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.headers["ETag"] == tag) == (200, False)
    assert staff.put(URL, {"max_modules": 7}, HTTP_IF_MATCH=tag).status_code == 200
    refused = staff.put(URL, {"max_modules": 8}, HTTP_IF_MATCH=tag)
    assert refused.status_code == 412
    assert refused.json()["code"] == "precondition_failed"
    assert LimitOverride.objects.get().limit == 7
    fresh = staff.get(URL).headers["ETag"]
    assert fresh.startswith(f'"quotas-{cast.org.pk}-2.')
    for sent in (fresh, f'"other", {fresh}', "*"):
        assert staff.put(URL, {"max_modules": 7}, HTTP_IF_MATCH=sent).status_code == 200
    assert QuotaSettings.objects.get().revision == 2


def test_an_expired_override_is_over(api, cast):
    past = timezone.now() - timedelta(seconds=1)
    LimitOverride.objects.create(
        org=cast.org, resource="modules", limit=99, expires_at=past, created_at=past
    )
    body = api("owner").get(URL).json()
    assert (body["max_modules"], limit_of(body, "modules")["source"]) == (5, "plan")


def test_true_is_not_taken_for_one(cast, api):
    for value in (1, True):
        changed = api("staff").patch("/orgs/acme/quotas", {"custom_settings": {"a": value}})
        assert changed.json()["custom_settings"]["a"] is value
