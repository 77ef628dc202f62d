"""What a version depends on: found, resolved through all that it needs in turn, and kept.

Versions never change and dependencies are exact, so what a version needs is fixed when it is published,
and all of it is kept as rows of its own organization. They are what other organizations' versions are
read by ever after, also when their modules become private (docs/adr/0019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from orgs.models import Organization, OrganizationStatus
from registry.models import Module, Version, VersionDependency, VersionFile
from registry.references import Reference
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput

MAX_CLOSURE = 200
MAX_CLOSURE_BYTES = 64 * 1024 * 1024
MAX_CLOSURE_FILES = 10_000
TARGET = "registry_versiondependency_target_id"


@dataclass(frozen=True)
class Dependency:
    """A version that is needed. `reference` names its owner; `index` is its place in the push."""

    version: Version
    reference: Reference
    index: int
    is_direct: bool


@dataclass(frozen=True)
class SourceFile:
    """A file of a version, and where its content lies (`storage.read_content(org_id, digest)`)."""

    path: str
    org_id: int
    digest: str
    size_bytes: int


def resolve(*, module: Module, references: Sequence[Reference]) -> list[Dependency]:
    """All that a new version of the module would need, direct and through others.

    For a scope of the module's organization; opens what is shared with it. Raises InvalidInput, whose
    `field` is the dependency at fault: `unknown_dependency`, `yanked_dependency`,
    `unavailable_dependency`, `dependency_cycle`, `dependency_conflict`, `too_many_dependencies`.
    """
    if not references:
        return []
    with tenancy.reading(tenancy.Scope(org_id=module.org_id, shared=True)):
        own = Organization.objects.only("name").get(pk=module.org_id).name
        direct = [
            _find(module, reference.within(own), own, index)
            for index, reference in enumerate(references)
        ]
        needed = _with_indirect(direct)
        _refuse_conflicts(module, needed)
        _refuse_clashes(needed)
    return needed


def _find(module: Module, reference: Reference, own: str, index: int) -> Dependency:
    shown = reference.seen_from(own)
    version = (
        _of_own(module.org_id, reference) if shown.org is None else _of_others(module, reference)
    )
    if version is None:
        detail = f"There is no {shown}, or it is not public."
        raise _fault(index, "unknown_dependency", detail)
    if version.yanked_at is not None:
        detail = f"{shown} is yanked: {version.yank_reason or 'no reason was given'}"
        raise _fault(index, "yanked_dependency", detail)
    if version.org_id != module.org_id and _is_namesake(module, reference, version):
        detail = (
            f"{reference.org} is another organization than the one you depended on, which is gone."
        )
        raise _fault(index, "unavailable_dependency", detail)
    return Dependency(version, reference, index, is_direct=True)


def _is_namesake(module: Module, reference: Reference, version: Version) -> bool:
    """Whether the owner's name was another's before, whom this organization knows by it.

    A name is free again once its organization is purged; whoever takes it is not trusted by that.
    """
    known = VersionDependency.objects.filter(
        org_id=module.org_id, reference__startswith=f"{reference.org}/"
    )
    return known.exclude(target_org_id=version.org_id).exists()


def _of_own(org_id: int, reference: Reference) -> Version | None:
    return Version.objects.filter(
        org_id=org_id, module__name=reference.module, version=reference.version
    ).first()


def _of_others(module: Module, reference: Reference) -> Version | None:
    """Of a public module, or one that the organization depends on already."""
    found = Version.objects.filter(
        ~Q(org__status=OrganizationStatus.CLOSED),
        org__name=reference.org,
        module__is_public=True,
        module__name=reference.module,
        version=reference.version,
    ).first()
    if found is not None:
        return found
    kept = VersionDependency.objects.filter(
        org_id=module.org_id, reference=str(reference), target__isnull=False
    )
    target = kept.values_list("target_id", flat=True).first()
    return None if target is None else Version.objects.filter(pk=target).first()


def _with_indirect(direct: list[Dependency]) -> list[Dependency]:
    """The dependencies, each once, and what they need; those keep all of it as rows themselves."""
    needed = {one.version.pk: one for one in reversed(direct)}
    brought: dict[int, tuple[Dependency, str]] = {}
    by_id = dict(needed)
    rows = VersionDependency.objects.filter(version_id__in=by_id).order_by("pk")
    for row in rows:
        by = by_id[row.version_id]
        if row.target_id is None:
            detail = f"{by.reference} needs {row.reference}, whose organization is gone."
            raise _fault(by.index, "unavailable_dependency", detail)
        brought.setdefault(row.target_id, (by, row.reference))
    found = Version.objects.in_bulk([pk for pk in brought if pk not in needed])
    for pk, (by, text) in brought.items():
        if pk in needed:
            continue
        if pk not in found:
            # Its name is its owner's alone.
            detail = f"{by.reference} needs a version that is not public."
            raise _fault(by.index, "unavailable_dependency", detail)
        needed[pk] = Dependency(found[pk], _stored(text), by.index, is_direct=False)
    if len(needed) > MAX_CLOSURE:
        detail = f"A version needs at most {MAX_CLOSURE} others; this one needs {len(needed)}."
        raise InvalidInput(detail, field="dependencies", code="too_many_dependencies")
    return sorted(needed.values(), key=lambda one: (one.index, not one.is_direct, one.reference))


def _stored(text: str) -> Reference:
    name, _, version = text.partition("@")
    org, _, module = name.partition("/")
    return Reference(org, module, version)


def _refuse_conflicts(module: Module, needed: list[Dependency]) -> None:
    chosen: dict[int, Dependency] = {}
    for one in needed:
        if one.version.module_id == module.pk:
            detail = f"{one.reference} is a version of {module.name} itself: that is a cycle."
            raise _fault(one.index, "dependency_cycle", detail)
        other = chosen.setdefault(one.version.module_id, one)
        if other is not one:
            detail = f"Two versions of one module: {other.reference} and {one.reference}."
            raise _fault(one.index, "dependency_conflict", detail)


def _refuse_clashes(needed: list[Dependency]) -> None:
    """One path of a .proto file is one file, wherever it comes from."""
    by_version = {one.version.pk: one for one in needed}
    owners: dict[str, Dependency] = {}
    files = VersionFile.objects.filter(version_id__in=by_version, path__endswith=".proto")
    found = files.order_by("path", "version_id").values_list("path", "version_id")
    for path, version_id in found[: MAX_CLOSURE_FILES + 1]:
        one = by_version[version_id]
        other = owners.setdefault(path, one)
        if other is not one:
            detail = f"{path} comes from both {other.reference} and {one.reference}."
            raise _fault(max(one.index, other.index), "dependency_conflict", detail)
    total = sum(one.version.size_bytes for one in needed)
    if total > MAX_CLOSURE_BYTES or len(owners) > MAX_CLOSURE_FILES:
        detail = (
            f"What a version needs has at most {MAX_CLOSURE_BYTES} bytes and"
            f" {MAX_CLOSURE_FILES} .proto files in all."
        )
        raise InvalidInput(detail, field="dependencies", code="too_many_dependencies")


def _fault(index: int, code: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, field=f"dependencies.{index}", code=code)


def keep_dependencies(*, version: Version, needed: Sequence[Dependency]) -> None:
    """The dependencies of a version being published are kept, and held against deletion.

    Raises Conflict (`dependency_gone`) where one was deleted meanwhile.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            VersionDependency.objects.bulk_create(
                VersionDependency(
                    org_id=version.org_id,
                    version=version,
                    target=one.version,
                    target_org_id=one.version.org_id,
                    reference=str(one.reference),
                    is_direct=one.is_direct,
                )
                for one in needed
            )
            # Now and not at COMMIT: from here on whoever deletes a target waits for us.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    except IntegrityError as exc:
        if TARGET not in str(exc):
            raise
        raise Conflict(
            "A dependency was deleted while the version was published.",
            code="dependency_gone",
            field="dependencies",
        ) from exc


def refuse_while_needed(*, versions: Sequence[Version]) -> None:
    """Nobody comes to depend on these versions, of one locked module, until the transaction ends.

    Raises Conflict (`version_in_use`) where a version outside of their module depends on one already.
    """
    ids = [version.pk for version in versions]
    # Whoever is just keeping a dependency holds a share of the row.
    list(Version.objects.filter(pk__in=ids).order_by("pk").select_for_update().values("pk"))
    rows = VersionDependency.objects.filter(target_id__in=ids).exclude(version_id__in=ids)
    total = rows.count()
    if not total:
        return
    org_id = versions[0].org_id
    own = rows.filter(org_id=org_id).select_related("version__module").order_by("pk")[:10]
    dependants = [f"{row.version.module.name}@{row.version.version}" for row in own]
    others = rows.exclude(org_id=org_id).count()
    raise Conflict(
        f"{total} other version{'s depend' if total > 1 else ' depends'} on it. Yank it instead.",
        code="version_in_use",
        dependants=dependants,
        dependants_elsewhere=others,
    )


@dataclass(frozen=True)
class Needs:
    """What a version depends on directly, and of how many versions in all the reader sees nothing."""

    direct: list[str]
    private: int


def dependencies_of(*, version: Version) -> Needs:
    """What a version needs, by name, as its own organization writes it.

    Private versions of another organization are counted and not named.
    """
    with tenancy.reading(tenancy.Scope(org_id=tenancy.current().org_id, shared=True)):
        owner = (
            Organization.objects.filter(pk=version.org_id).values_list("name", flat=True).first()
        )
        rows = list(VersionDependency.objects.filter(version=version).order_by("reference"))
        targets = Version.objects.filter(pk__in=[row.target_id for row in rows])
        seen = {None, *targets.values_list("pk", flat=True)}
    direct = [row.reference for row in rows if row.is_direct and row.target_id in seen]
    return Needs(
        [str(_stored(text).seen_from(owner or "")) for text in direct],
        sum(row.target_id not in seen for row in rows),
    )


def closure_of(*, version: Version) -> list[Version]:
    """All that a version needs, direct and through others, by reference; their files can be read.

    For a scope of the version's organization, or none. Raises Conflict (`dependency_gone`) where the
    organization that owned one of them was purged.
    """
    with tenancy.reading(tenancy.Scope(org_id=version.org_id, shared=True)):
        rows = list(VersionDependency.objects.filter(version=version).order_by("reference"))
        found = Version.objects.in_bulk([row.target_id for row in rows if row.target_id])
    gone = [row.reference for row in rows if row.target_id not in found]
    if gone:
        detail = f"It needs {', '.join(gone)}, whose organization is gone."
        raise Conflict(detail, code="dependency_gone")
    return [found[row.target_id] for row in rows if row.target_id is not None]


def source_files(*, org_id: int, versions: Sequence[Version]) -> list[SourceFile]:
    """The .proto files of these versions by path, own or shared with the organization `org_id`."""
    with tenancy.reading(tenancy.Scope(org_id=org_id, shared=True)):
        files = VersionFile.objects.filter(
            version__in=[version.pk for version in versions], path__endswith=".proto"
        )
        rows = files.order_by("path").values_list(
            "path", "org_id", "blob__digest", "blob__size_bytes"
        )
        return [SourceFile(*row) for row in rows]
