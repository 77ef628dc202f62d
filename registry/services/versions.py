"""Versions: published once, never changed, deleted with what they alone held.

A push has two halves. `registry.services.pushing` refuses early and writes files, in no transaction of
the caller's; `publish_version` decides, in the caller's transaction.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

from orgs.context import Actor
from orgs.services.audit import record_event
from quotas.resources import Resource
from quotas.services.reservations import release, reserve
from registry import semver
from registry.files import Push, path_problem
from registry.models import BreakingPolicy, Module, Version, VersionFile, VersionQuerySet
from registry.services.compile_settling import cancel_jobs_of
from registry.services.contents import drop_contents, hold_contents
from registry.services.dependencies import (
    Dependency,
    keep_dependencies,
    refuse_while_needed,
    resolve,
)
from registry.services.modules import find_module, lock_module, touch_module
from registry.services.retiring import refuse_retired, retire_versions
from registry.services.validation import Comparison, find_baseline
from spoke.core.errors import Conflict, InvalidInput, NotFound

LATEST = "latest"


@dataclass(frozen=True)
class CheckedPush:
    """A push that compiles, with what was found out about it."""

    push: Push
    needed: tuple[Dependency, ...]
    comparison: Comparison


def publish_version(
    *, org_id: int, actor: Actor, module_name: str, checked: CheckedPush, now: datetime
) -> Version:
    """Publishes what was checked and stored; version, files, usage and event commit together.

    Raises NotFound, Conflict (`version_exists`, `version_deleted`, `breaking_change`, `module_changed`,
    `dependency_gone`), InvalidInput of a dependency, QuotaExceeded and ServiceUnavailable.
    """
    push = checked.push
    module = lock_module(org_id=org_id, name=module_name)
    refuse_existing(module, push)
    _refuse_stale(module, checked)
    refuse_breaking(module, checked.comparison)
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
        size_bytes=push.size_bytes,
        created_by_id=actor.user.pk if actor.user else None,
        created_at=now,
    )
    VersionFile.objects.bulk_create(
        VersionFile(org_id=org_id, version=version, path=file.path, blob=blobs[file.digest])
        for file in push.files
    )
    if checked.needed:
        keep_dependencies(version=version, needed=checked.needed)
    touch_module(module=module, now=now)
    _record(version, module, actor, "version.published", now, size_bytes=version.size_bytes)
    return version


def _refuse_stale(module: Module, checked: CheckedPush) -> None:
    """Raises where what was found out about a push holds no more, under the lock of its module."""
    references = checked.push.dependencies
    needed = resolve(module=module, references=references)
    if [one.version.pk for one in needed] != [one.version.pk for one in checked.needed]:
        raise _changed(module)
    if module.breaking_policy != BreakingPolicy.REFUSE:
        return
    baseline = find_baseline(module=module, version=checked.push.version)
    if baseline != checked.comparison.baseline:
        raise _changed(module)


def _changed(module: Module) -> Conflict:
    return Conflict(
        f"{module.name} changed while the version was checked. Send it again.",
        code="module_changed",
    )


def refuse_breaking(module: Module, comparison: Comparison) -> None:
    """Raises Conflict (`breaking_change`) where the module's policy refuses what the push breaks."""
    baseline, changes = comparison.baseline, comparison.changes
    is_refused = module.breaking_policy == BreakingPolicy.REFUSE and not comparison.is_allowed
    if baseline is None or not changes or not is_refused:
        return
    count = f"{len(changes)} promise{'s' if len(changes) > 1 else ''}"
    raise Conflict(
        f"It breaks {count} of version {baseline.version}. Keep {'them' if len(changes) > 1 else 'it'},"
        " or raise the major number (before 1.0.0 the minor one).",
        code="breaking_change",
        compared_with=baseline.version,
        breaking_changes=[asdict(change) for change in comparison.shown],
    )


def refuse_existing(module: Module, push: Push) -> None:
    """Raises Conflict where the version exists, or did (`version_deleted`).

    Decisive while the module is locked.
    """
    sort_key = semver.parse(push.version).sort_key
    existing = Version.objects.filter(module=module, sort_key=sort_key).first()
    if existing is None:
        refuse_retired(module, push)
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
    version: Version, module: Module, actor: Actor, action: str, now: datetime, **data: int | str
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

    A yanked version is found by its name, and is never `latest`. Raises NotFound.
    """
    module = find_module(org_id=org_id, name=module_name)
    return choose_version(Version.objects.filter(module=module), version)


def choose_version(versions: VersionQuerySet, version: str) -> Version:
    """The one of a module's versions that is meant, as `find_version` says. Raises NotFound."""
    found: Version | None = None
    if version == LATEST:
        found = versions.in_use().latest_first().first()
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
    """A version of a locked module goes, with its usage and the content that it alone held.

    Raises Conflict (`version_in_use`) where another version depends on it.
    """
    module = version.module
    refuse_while_needed(versions=[version])
    release(org_id=version.org_id, resource=Resource.VERSIONS, subject=module.pk, amount=1, now=now)
    going = Version.objects.filter(pk=version.pk)
    cancel_jobs_of(org_id=version.org_id, versions=going, now=now)
    retire_versions(module=module, versions=going, now=now)
    files = VersionFile.objects.filter(org_id=version.org_id, version=version)
    freed = drop_contents(org_id=version.org_id, files=files, now=now)
    touch_module(module=module, now=now)
    _record(version, module, actor, "version.deleted", now, freed_bytes=freed)
    version.delete()


def yank_version(*, version: Version, actor: Actor, reason: str, now: datetime) -> Version:
    """A version of a locked module is passed over from now on; yanked again, it keeps its time."""
    if version.yanked_at is not None and version.yank_reason == reason:
        return version
    version.yanked_at, version.yank_reason = version.yanked_at or now, reason
    return _mark(version, actor, "version.yanked", now, reason=reason)


def unyank_version(*, version: Version, actor: Actor, now: datetime) -> Version:
    """A version of a locked module counts again; one that was not yanked stays as it is."""
    if version.yanked_at is None:
        return version
    version.yanked_at, version.yank_reason = None, ""
    return _mark(version, actor, "version.unyanked", now)


def _mark(version: Version, actor: Actor, action: str, now: datetime, **data: str) -> Version:
    version.save(update_fields=["yanked_at", "yank_reason"])
    touch_module(module=version.module, now=now)
    _record(version, version.module, actor, action, now, **data)
    return version
