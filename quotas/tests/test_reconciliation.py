"""A gauge that is wrong is put right, and says so."""

import pytest
from prometheus_client import REGISTRY

from quotas.models import GaugeChange, UsageGauge
from quotas.resources import Resource
from quotas.services.reconciliation import levels_of, lock_gauge, reconcile_gauge
from quotas.services.reservations import reserve
from quotas.tests.conftest import NOW


def drift_counted(resource: str) -> float:
    name = "spoke_quota_gauge_drift_total"
    return REGISTRY.get_sample_value(name, {"resource": resource}) or 0.0


@pytest.fixture
def org_id(cast, plans):
    return cast.org.pk


def level(org_id: int, resource: Resource, subject: int = 0) -> int:
    return levels_of(org_id=org_id, resource=resource)[subject]


def test_a_right_gauge_is_left_alone(org_id):
    reserve(org_id=org_id, resource=Resource.MODULES, amount=3, now=NOW)
    before = drift_counted("modules")
    assert reconcile_gauge(org_id=org_id, resource=Resource.MODULES, actual=3, now=NOW) == 0
    assert drift_counted("modules") == before
    assert level(org_id, Resource.MODULES) == 3


def test_drift_is_repaired_counted_and_in_its_history(org_id):
    reserve(org_id=org_id, resource=Resource.STORAGE, amount=100, now=NOW)
    before = drift_counted("storage")
    assert reconcile_gauge(org_id=org_id, resource=Resource.STORAGE, actual=70, now=NOW) == 30
    assert level(org_id, Resource.STORAGE) == 70
    assert drift_counted("storage") == before + 30
    assert GaugeChange.objects.get(org_id=org_id, resource="storage").used == 70


def test_a_gauge_that_is_missing_is_made(org_id):
    assert reconcile_gauge(org_id=org_id, resource=Resource.MODULES, actual=2, now=NOW) == -2
    assert level(org_id, Resource.MODULES) == 2
    assert GaugeChange.objects.get(org_id=org_id, resource="modules").used == 2


def test_a_modules_versions_carry_the_total_along(org_id):
    for module, versions in ((1, 3), (2, 4)):
        reserve(org_id=org_id, resource=Resource.VERSIONS, amount=versions, now=NOW, subject=module)
    drift = reconcile_gauge(org_id=org_id, resource=Resource.VERSIONS, subject=1, actual=5, now=NOW)
    assert drift == -2
    assert levels_of(org_id=org_id, resource=Resource.VERSIONS) == {0: 9, 1: 5, 2: 4}
    assert GaugeChange.objects.get(org_id=org_id, resource="versions").used == 9


def test_a_wrong_total_is_repaired_too(org_id):
    reserve(org_id=org_id, resource=Resource.VERSIONS, amount=3, now=NOW, subject=1)
    UsageGauge.objects.filter(org_id=org_id, subject=0).update(used=8)
    drift = reconcile_gauge(org_id=org_id, resource=Resource.VERSIONS, subject=1, actual=3, now=NOW)
    assert drift == 0
    assert levels_of(org_id=org_id, resource=Resource.VERSIONS) == {0: 3, 1: 3}


def test_locking_a_meter_is_a_programming_error(org_id):
    with pytest.raises(ValueError, match="compile_jobs is no gauge"):
        lock_gauge(org_id=org_id, resource=Resource.COMPILE_JOBS)
