"""Which limit is in force, and changing it."""

from datetime import timedelta

import pytest

from orgs.context import Actor
from orgs.models import AuditEvent
from quotas.errors import PlansMissing
from quotas.models import LimitOverride, QuotaSettings
from quotas.resources import Resource
from quotas.services.limits import (
    EffectiveLimit,
    effective_limit,
    effective_limits,
    set_overrides,
)
from quotas.tests.conftest import NOW, override
from spoke.core.errors import InvalidInput

STAFF = Actor("staff", 7, "staff@example.com")
HOUR = timedelta(hours=1)


def test_without_overrides_the_plans_limits_hold(cast, give):
    give("pro")
    assert effective_limits(org_id=cast.org.pk, now=NOW) == {
        Resource.MODULES: EffectiveLimit(50, False, "plan"),
        Resource.VERSIONS: EffectiveLimit(500, False, "plan"),
        Resource.STORAGE: EffectiveLimit(10 * 2**30, True, "plan"),
        Resource.COMPILE_JOBS: EffectiveLimit(1_000, True, "plan"),
        Resource.API_REQUESTS: EffectiveLimit(10_000, False, "plan"),
    }
    assert effective_limits(org_id=cast.other_org.pk, now=NOW)[Resource.MODULES].limit == 5


def test_an_override_wins_until_it_expires(cast, give):
    give("pro")
    override(cast.org.pk, Resource.STORAGE, 7, expires_at=NOW + HOUR)
    override(cast.org.pk, Resource.MODULES, None)
    found = effective_limits(org_id=cast.org.pk, now=NOW)
    # An override is hard: staff who set a number mean it.
    assert found[Resource.STORAGE] == EffectiveLimit(7, False, "override", NOW + HOUR)
    assert found[Resource.MODULES] == EffectiveLimit(None, False, "override")
    for now, storage in (
        (NOW, 7),
        (NOW + HOUR - timedelta(microseconds=1), 7),
        (NOW + HOUR, 10 * 2**30),
    ):
        assert effective_limit(org_id=cast.org.pk, resource=Resource.STORAGE, now=now) == storage
        assert effective_limits(org_id=cast.org.pk, now=now)[Resource.STORAGE].limit == storage
    assert effective_limit(org_id=cast.org.pk, resource=Resource.MODULES, now=NOW) is None
    assert effective_limit(org_id=cast.other_org.pk, resource=Resource.MODULES, now=NOW) == 5


def test_before_seeding_there_is_a_clear_error(cast):
    for ask in (
        lambda: effective_limits(org_id=cast.org.pk, now=NOW),
        lambda: effective_limit(org_id=cast.org.pk, resource=Resource.MODULES, now=NOW),
    ):
        with pytest.raises(PlansMissing):
            ask()


def test_setting_and_resetting_is_audited_with_old_and_new(cast, plans):
    settings = set_overrides(
        org_id=cast.org.pk,
        actor=STAFF,
        now=NOW,
        limits={Resource.MODULES: 9, Resource.STORAGE: None},
        custom_settings={"contract": 1},
        expires_at=NOW + HOUR,
        reason="ticket 1",
    )
    assert (settings.revision, settings.updated_at) == (2, NOW)
    set_overrides(
        org_id=cast.org.pk,
        actor=STAFF,
        now=NOW + HOUR,
        limits={Resource.MODULES: 10},
        reset=[Resource.STORAGE],
    )
    rows = LimitOverride.objects.filter(org=cast.org).values_list(
        "resource", "limit", "expires_at", "reason"
    )
    assert list(rows) == [("modules", 10, None, "")]
    first, second = AuditEvent.objects.filter(action="quotas.changed").order_by("pk")
    expiry = (NOW + HOUR).isoformat()
    modules = {"limit": 9, "expires_at": expiry, "reason": "ticket 1"}
    storage = {"limit": None, "expires_at": expiry, "reason": "ticket 1"}
    assert (first.actor_kind, first.actor_id, first.org_id) == ("staff", 7, cast.org.pk)
    assert first.data == {
        "old": {"max_modules": None, "max_storage_bytes": None, "custom_settings": {}},
        "new": {
            "max_modules": modules,
            "max_storage_bytes": storage,
            "custom_settings": {"contract": 1},
        },
        "reason": "ticket 1",
    }
    assert second.data == {
        "old": {"max_modules": modules, "max_storage_bytes": storage},
        "new": {
            "max_modules": {"limit": 10, "expires_at": None, "reason": ""},
            "max_storage_bytes": None,
        },
        "reason": "",
    }
    assert QuotaSettings.objects.get(org=cast.org).custom_settings == {"contract": 1}


def test_setting_what_holds_already_changes_nothing(cast, plans):
    for _ in range(2):
        set_overrides(
            org_id=cast.org.pk,
            actor=STAFF,
            now=NOW,
            limits={Resource.MODULES: 9},
            reset=[Resource.STORAGE],
            custom_settings={},
        )
    assert QuotaSettings.objects.get(org=cast.org).revision == 2
    assert AuditEvent.objects.filter(action="quotas.changed").count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limits": {Resource.MODULES: 1}, "expires_at": NOW}, "expires_at"),
        ({"expires_at": NOW + HOUR}, "expires_at"),
        ({"limits": {Resource.MODULES: 1}, "reset": [Resource.MODULES]}, "reset"),
    ],
)
def test_what_makes_no_sense_is_refused(cast, plans, change, field):
    with pytest.raises(InvalidInput) as caught:
        set_overrides(org_id=cast.org.pk, actor=STAFF, now=NOW, **change)
    assert caught.value.field == field
    assert not LimitOverride.objects.exists()
    assert not QuotaSettings.objects.exists()
    assert not AuditEvent.objects.filter(action="quotas.changed").exists()
