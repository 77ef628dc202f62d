"""What the registry's rows say of usage, and putting the gauges right by it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db.models import Count, Sum

from quotas.resources import Resource
from quotas.services.holds import held_storage
from quotas.services.reconciliation import levels_of, lock_gauge, reconcile_gauge
from quotas.services.reservations import forget_subject
from registry.models import Blob, Module, Version
from spoke.core import tenancy


def count_modules(org_id: int) -> int:
    """How many modules the organization has."""
    return Module.objects.for_org(org_id).count()


def count_storage(org_id: int) -> int:
    """The bytes of content that some version holds, each content once."""
    blobs = Blob.objects.counted().filter(org_id=org_id)
    return int(blobs.aggregate(total=Sum("size_bytes"))["total"] or 0)


def count_all_storage(org_id: int) -> int:
    """The bytes of content, and those that data planes outside have reserved and keep."""
    return count_storage(org_id) + held_storage(org_id=org_id)


def count_versions(org_id: int, module_id: int | None = None) -> int:
    """How many versions the organization has, or one of its modules."""
    versions = Version.objects.filter(org_id=org_id)
    return versions.count() if module_id is None else versions.filter(module=module_id).count()


def versions_by_module(org_id: int) -> dict[int, int]:
    """How many versions each module has, by the module's id; those without are left out."""
    versions = Version.objects.filter(org_id=org_id).order_by()
    return dict(versions.values_list("module").annotate(n=Count("pk")))


def reconcile_organization(*, org_id: int, now: datetime) -> dict[Resource, int]:
    """The gauges say what the rows say; returns by how much each resource's were wrong, in all.

    Each gauge has a transaction of its own, so that no locks are held while waiting for others. The
    versions of modules are compared without locks first: only those that seem wrong are looked at.
    """
    return {
        Resource.MODULES: _reconcile(org_id, Resource.MODULES, count_modules, now),
        Resource.VERSIONS: _reconcile_versions(org_id, now),
        Resource.STORAGE: _reconcile(org_id, Resource.STORAGE, count_all_storage, now),
    }


def _reconcile(
    org_id: int, resource: Resource, count: Callable[[int], int], now: datetime, subject: int = 0
) -> int:
    with tenancy.organization(org_id):
        # Locked first, counted second: whatever is reserved meanwhile waits.
        lock_gauge(org_id=org_id, resource=resource, subject=subject)
        actual = count(org_id)
        return abs(
            reconcile_gauge(
                org_id=org_id, resource=resource, subject=subject, actual=actual, now=now
            )
        )


def _reconcile_versions(org_id: int, now: datetime) -> int:
    with tenancy.organization(org_id):
        levels = levels_of(org_id=org_id, resource=Resource.VERSIONS)
        levels.pop(0, None)
        actual = versions_by_module(org_id)
        modules = set(Module.objects.for_org(org_id).values_list("pk", flat=True))
    gone = levels.keys() - modules
    doubtful = {m for m in levels | actual if levels.get(m, 0) != actual.get(m, 0)}
    drift = 0
    for module_id in sorted(doubtful | gone):
        count = partial(count_versions, module_id=module_id)
        drift += _reconcile(org_id, Resource.VERSIONS, count, now, subject=module_id)
        if module_id in gone:
            with tenancy.organization(org_id):
                forget_subject(
                    org_id=org_id, resource=Resource.VERSIONS, subject=module_id, now=now
                )
    return drift + _reconcile(org_id, Resource.VERSIONS, count_versions, now)
