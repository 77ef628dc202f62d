"""Versions: published once, never changed, deleted with what they alone held.

A push has two halves. `prepare_push` refuses early and writes files, in no transaction of the
caller's; `publish_version` decides, in the caller's transaction.
"""

from datetime import datetime

from django.db import transaction

from orgs.context import Actor
from orgs.services.audit import record_event
from quotas.resources import Resource
from quotas.services.reservations import release, reserve
from registry import semver, storage
from registry.files import Push, path_problem
from registry.models import Module, Version, VersionFile
from registry.services.compile_settling import cancel_jobs_of
from registry.services.contents import (
    announce_contents,
    drop_contents,
    hold_contents,
    unheld_bytes,
)
from registry.services.modules import find_module, lock_module, touch_module
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput, NotFound

LATEST = "latest"


def prepare_push(*, org_id: int, module_name: str, push: Push, now: datetime) -> None:
    """The content is in storage when this returns, unless the push has no chance, which it raises.

    Not for calling inside a transaction. Raises NotFound, Conflict (`version_exists`), QuotaExceeded
    and ServiceUnavailable; the last word is `publish_version`'s.
    """
    with tenancy.organization(org_id):
        module = find_module(org_id=org_id, name=module_name)
        _refuse_existing(module, push)
        _rehearse(module, push, now)
        missing = announce_contents(org_id=org_id, contents=push.contents, now=now)
    storage.write_contents(org_id, missing)


def _rehearse(module: Module, push: Push, now: datetime) -> None:
    """Raises QuotaExceeded as a push at this moment would, and reserves nothing.

    Without it anybody over their limit could fill the disk for a day with refused pushes.
    """
    with transaction.atomic():
        reserve(
            org_id=module.org_id, resource=Resource.VERSIONS, subject=module.pk, amount=1, now=now
        )
        new_bytes = unheld_bytes(org_id=module.org_id, contents=push.contents)
        reserve(org_id=module.org_id, resource=Resource.STORAGE, amount=new_bytes, now=now)
        transaction.set_rollback(True)


def publish_version(
    *, org_id: int, actor: Actor, module_name: str, push: Push, now: datetime
) -> Version:
    """Publishes what `prepare_push` stored; version, files, usage and event commit together.

    Raises NotFound, Conflict (`version_exists`), QuotaExceeded and ServiceUnavailable.
    """
    module = lock_module(org_id=org_id, name=module_name)
    _refuse_existing(module, push)
    reserve(org_id=org_id, resource=Resource.VERSIONS, subject=module.pk, amount=1, now=now)
    blobs = hold_contents(org_id=org_id, files=push.files, now=now)
    parsed = semver.parse(push.version)
    version = Version.objects.create(
        org_id=org_id,
        module=module,
        version=push.version,
        sort_key=parsed.sort_key,
        is_prerelease=parsed.is_prerelease,
        description=push.description,
        size_bytes=sum(len(file.content) for file in push.files),
        created_by_id=actor.user.pk if actor.user else None,
        created_at=now,
    )
    VersionFile.objects.bulk_create(
        VersionFile(org_id=org_id, version=version, path=file.path, blob=blobs[file.digest])
        for file in push.files
    )
    touch_module(module=module, now=now)
    _record(version, module, actor, "version.published", now, size_bytes=version.size_bytes)
    return version


def _refuse_existing(module: Module, push: Push) -> None:
    """Raises Conflict where the version exists; decisive while the module is locked."""
    sort_key = semver.parse(push.version).sort_key
    existing = Version.objects.filter(module=module, sort_key=sort_key).first()
    if existing is None:
        return
    stored = set(existing.files.values_list("path", "blob__digest"))
    identical = stored == {(file.path, file.digest) for file in push.files}
    told = "with the same content" if identical else "with other content"
    raise Conflict(
        f"Version {existing.version} of {module.name} exists already, {told}; versions are"
        " immutable, and build metadata does not make another version.",
        code="version_exists",
        field="version",
        version=existing.version,
        identical=identical,
    )


def _record(
    version: Version, module: Module, actor: Actor, action: str, now: datetime, **data: int
) -> None:
    record_event(
        org_id=version.org_id,
        actor=actor,
        action=action,
        now=now,
        target=("version", version.pk),
        data={"module": module.name, "version": version.version, **data},
    )


def find_version(*, org_id: int, module_name: str, version: str) -> Version:
    """The version of a module; `latest` is the newest release, or else the newest pre-release.

    Raises NotFound.
    """
    module = find_module(org_id=org_id, name=module_name)
    versions = Version.objects.filter(module=module)
    found: Version | None = None
    if version == LATEST:
        found = versions.latest_first().first()
    elif _is_version(version):
        found = versions.filter(version=version).first()
    if found is None:
        raise NotFound("There is no such version of this module.")
    return found


def _is_version(text: str) -> bool:
    try:
        semver.parse(text)
    except semver.InvalidVersion:
        return False
    return True


def files_of(*, version: Version) -> list[VersionFile]:
    """The files of a version by path, each with its blob."""
    return list(version.files.select_related("blob").order_by("path"))


def find_file(*, org_id: int, module_name: str, version: str, path: str) -> VersionFile:
    """A file of a version, with its blob. Raises NotFound."""
    found = find_version(org_id=org_id, module_name=module_name, version=version)
    file = None
    if path_problem(path) is None:
        file = found.files.select_related("blob").filter(path=path).first()
    if file is None:
        raise NotFound("There is no such file in this version.")
    return file


def lock_version(*, org_id: int, module_name: str, version: str) -> Version:
    """The version, its module held until the transaction ends.

    Raises NotFound, and InvalidInput for `latest`: what is to be deleted must be named.
    """
    if version == LATEST:
        raise InvalidInput("Name the version itself to change it, not latest.", field="version")
    lock_module(org_id=org_id, name=module_name)
    return find_version(org_id=org_id, module_name=module_name, version=version)


def delete_version(*, version: Version, actor: Actor, now: datetime) -> None:
    """A version of a locked module goes, with its usage and the content that it alone held."""
    module = version.module
    release(org_id=version.org_id, resource=Resource.VERSIONS, subject=module.pk, amount=1, now=now)
    going = Version.objects.filter(pk=version.pk)
    cancel_jobs_of(org_id=version.org_id, versions=going, now=now)
    files = VersionFile.objects.filter(org_id=version.org_id, version=version)
    freed = drop_contents(org_id=version.org_id, files=files, now=now)
    touch_module(module=module, now=now)
    _record(version, module, actor, "version.deleted", now, freed_bytes=freed)
    version.delete()
