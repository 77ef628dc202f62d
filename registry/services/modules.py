"""Modules: made within the limit of the plan, changed, and deleted with all they hold."""

import re
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from orgs.context import Actor
from orgs.services.audit import record_event
from quotas.resources import Resource
from quotas.services.reservations import forget_subject, release, reserve
from registry.models import BreakingPolicy, Module, Version, VersionFile
from registry.services.compile_settling import cancel_jobs_of
from registry.services.contents import drop_contents
from registry.services.dependencies import refuse_while_needed
from registry.services.retiring import retire_versions
from spoke.core.errors import Conflict, NotFound

NAME = re.compile(r"[a-z][a-z0-9_-]*")
MAX_NAME_LENGTH = 100
UNIQUE_NAME = "registry_module_name_unique"


def find_module(*, org_id: int, name: str) -> Module:
    """The module of this name, with its summary. Raises NotFound."""
    return _get(Module.objects.for_org(org_id).with_summary(), name)


def lock_module(*, org_id: int, name: str) -> Module:
    """The module, held until the transaction ends: its versions change under this lock only.

    Raises NotFound.
    """
    return _get(Module.objects.for_org(org_id).select_for_update(), name)


def _get(modules: Any, name: str) -> Module:
    # A name that no module can have is not asked of the database, which refuses some characters.
    module: Module | None = modules.filter(name=name).first() if NAME.fullmatch(name) else None
    if module is None:
        raise NotFound("There is no such module in this organization.")
    return module


def create_module(
    *,
    org_id: int,
    actor: Actor,
    name: str,
    description: str,
    is_public: bool,
    now: datetime,
    breaking_policy: str = BreakingPolicy.WARN,
) -> Module:
    """Makes a module if the limit allows one more; reservation, row and event commit together.

    Raises QuotaExceeded, and Conflict (`module_exists`) where the name is taken.
    """
    reserve(org_id=org_id, resource=Resource.MODULES, amount=1, now=now)
    module = _insert_module(
        org_id=org_id,
        name=name,
        description=description,
        is_public=is_public,
        breaking_policy=breaking_policy,
        created_at=now,
        updated_at=now,
    )
    record_event(
        org_id=org_id,
        actor=actor,
        action="module.created",
        now=now,
        target=("module", module.pk),
        data={"name": name, "is_public": is_public},
    )
    return module


def _insert_module(**fields: Any) -> Module:
    try:
        with transaction.atomic():
            return Module.objects.create(**fields)
    except IntegrityError as exc:
        diagnosis = getattr(exc.__cause__, "diag", None)
        if getattr(diagnosis, "constraint_name", None) != UNIQUE_NAME:
            raise
        raise Conflict(
            f"A module named {fields['name']} exists already.", code="module_exists", field="name"
        ) from exc


def update_module(
    *,
    module: Module,
    actor: Actor,
    now: datetime,
    description: str | None = None,
    is_public: bool | None = None,
    breaking_policy: str | None = None,
) -> Module:
    """Changes what is given of a locked module and raises its revision; nothing new, no change."""
    wanted = {
        "description": description,
        "is_public": is_public,
        "breaking_policy": breaking_policy,
    }
    changed = {
        name: value
        for name, value in wanted.items()
        if value is not None and value != getattr(module, name)
    }
    if not changed:
        return module
    old = {name: getattr(module, name) for name in changed}
    for name, value in changed.items():
        setattr(module, name, value)
    touch_module(module=module, now=now)
    record_event(
        org_id=module.org_id,
        actor=actor,
        action="module.updated",
        now=now,
        target=("module", module.pk),
        data={"name": module.name, "old": old, "new": changed},
    )
    return module


def touch_module(*, module: Module, now: datetime) -> None:
    """Stores a locked module under its next revision, so that entity tags read before are stale."""
    module.revision += 1
    module.updated_at = now
    module.save(
        update_fields=["description", "is_public", "breaking_policy", "revision", "updated_at"]
    )


def delete_module(*, module: Module, actor: Actor, now: datetime) -> None:
    """A locked module goes, with its versions, its usage and the content that it alone held.

    The rows go last: a creation of the same name holds the gauge while it waits for them. Raises
    Conflict (`version_in_use`) where another module's version depends on one of its versions.
    """
    org_id = module.org_id
    versions = list(Version.objects.filter(module=module).order_by("pk"))
    if versions:
        refuse_while_needed(versions=versions)
    release(org_id=org_id, resource=Resource.MODULES, amount=1, now=now)
    forget_subject(org_id=org_id, resource=Resource.VERSIONS, subject=module.pk, now=now)
    going = Version.objects.filter(module=module)
    cancel_jobs_of(org_id=org_id, versions=going, now=now)
    retire_versions(module=module, versions=going, now=now)
    files = VersionFile.objects.filter(org_id=org_id, version__module=module)
    freed = drop_contents(org_id=org_id, files=files, now=now)
    _, deleted = going.delete()
    record_event(
        org_id=org_id,
        actor=actor,
        action="module.deleted",
        now=now,
        target=("module", module.pk),
        data={
            "name": module.name,
            "versions": deleted.get(Version._meta.label, 0),
            "freed_bytes": freed,
        },
    )
    module.delete()
