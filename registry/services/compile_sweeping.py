"""Archives that nobody uses any more, and jobs of long ago.

An archive goes under its row's lock, at which an order for the same waits, to find it gone and compile
it anew. Each step opens its own scope; not for calling inside a transaction.
"""

import zipfile
from datetime import datetime, timedelta

from django.conf import settings

from orgs.models import Organization
from registry import artifacts, storage
from registry.models import CompileArtifact, CompileJob
from registry.services.sweeping import ABANDONED_AFTER
from spoke.core import tenancy

# Finished jobs are shown for so long. What they used stays counted.
JOBS_KEPT = timedelta(days=90)


def unused_since(now: datetime) -> datetime:
    """Archives last used before this go."""
    return now - timedelta(days=settings.COMPILE_ARTIFACT_DAYS)


def organizations_to_sweep(*, now: datetime) -> list[int]:
    """The organizations with something to sweep, and all with archives, purged ones included."""
    with tenancy.all_organizations(reason="find unused artifacts"):
        unused = CompileArtifact.objects.filter(last_used_at__lt=unused_since(now))
        old = CompileJob.objects.filter(finished_at__lt=now - JOBS_KEPT)
        due = {*unused.values_list("org_id", flat=True), *old.values_list("org_id", flat=True)}
    return sorted(due.union(artifacts.stored_organizations()))


def sweep_organization(*, org_id: int, now: datetime) -> int:
    """Unused archives, files that no row tells of and old jobs are gone; how many archives."""
    with tenancy.organization(org_id):
        exists = Organization.objects.filter(pk=org_id).exists()
        CompileJob.objects.filter(org_id=org_id, finished_at__lt=now - JOBS_KEPT).delete()
    swept = sum(_sweep_stray(org_id, key, now, adopt=exists) for key in _strays(org_id))
    with tenancy.organization(org_id):
        unused = CompileArtifact.objects.filter(org_id=org_id, last_used_at__lt=unused_since(now))
        ids = list(unused.values_list("pk", flat=True))
    return swept + sum(_delete_unused(org_id, artifact_id, now) for artifact_id in ids)


def _strays(org_id: int) -> list[str]:
    with tenancy.organization(org_id):
        rows = CompileArtifact.objects.filter(org_id=org_id).values_list("digest", "sha256")
        told = {artifacts.key_of(org_id, digest, sha256) for digest, sha256 in rows}
    return [key for key in artifacts.stored_archives(org_id) if key not in told]


def _sweep_stray(org_id: int, key: str, now: datetime, *, adopt: bool) -> bool:
    """A file of yesterday that no row tells of goes, or gets a row; says whether it went.

    A worker died between writing it and saying so. Deleting it could hit the same file just written
    anew by another; with a row it is an archive like any other, and goes like one.
    """
    written = storage.written_at(key)
    if written is None or written >= now - ABANDONED_AFTER:
        return False
    found = artifacts.digests_in(key)
    if adopt and found is not None and _adopt(org_id, key, found, written):
        return False
    storage.delete_file(key)
    return True


def _adopt(org_id: int, key: str, found: tuple[str, str], written: datetime) -> bool:
    digest, sha256 = found
    try:
        with (
            artifacts.open_archive(org_id, digest, sha256) as file,
            zipfile.ZipFile(file) as packed,
        ):
            files = len(packed.infolist())
    except zipfile.BadZipFile:
        return False
    row = CompileArtifact(
        org_id=org_id,
        digest=digest,
        sha256=sha256,
        size_bytes=storage.size_of(key),
        files=files,
        created_at=written,
        last_used_at=written,
    )
    with tenancy.organization(org_id):
        CompileArtifact.objects.bulk_create([row], ignore_conflicts=True)
        # Another archive may stand under this digest: then this one is of no use.
        return CompileArtifact.objects.filter(org_id=org_id, digest=digest, sha256=sha256).exists()


def _delete_unused(org_id: int, artifact_id: int, now: datetime) -> bool:
    """One archive goes, file and row; says whether it was still unused."""
    with tenancy.organization(org_id):
        rows = CompileArtifact.objects.filter(pk=artifact_id, org_id=org_id)
        unused = rows.filter(last_used_at__lt=unused_since(now))
        artifact = unused.select_for_update().first()
        if artifact is None:
            return False
        artifacts.delete_archive(org_id, artifact.digest, artifact.sha256)
        artifact.delete()
    return True
