"""Removing content that nothing holds. registry.storage tells why this can never lose a file.

Each step opens its own scope, and the storage is listed outside any transaction.
"""

from datetime import datetime, timedelta
from itertools import islice

from django.db.models import Exists, OuterRef

from orgs.models import Organization
from registry import storage
from registry.models import Blob, VersionFile
from spoke.core import tenancy

# Far longer than any push takes; an announcement protects its content for this long.
ABANDONED_AFTER = timedelta(days=1)
CHUNK = 500


def organizations_to_sweep(*, now: datetime) -> list[int]:
    """The organizations with abandoned content, and all with files, purged ones included."""
    with tenancy.all_organizations(reason="find abandoned content"):
        blobs = Blob.objects.abandoned().filter(staged_at__lt=now - ABANDONED_AFTER)
        ids = set(blobs.values_list("org_id", flat=True).distinct())
    return sorted(ids.union(storage.stored_organizations()))


def sweep_organization(*, org_id: int, now: datetime) -> int:
    """Content that no version has held and no push has announced for a day is gone.

    Returns how many files went. Not for calling inside a transaction.
    """
    with tenancy.organization(org_id):
        exists = Organization.objects.filter(pk=org_id).exists()
    files = storage.stored_files(org_id)
    swept = 0
    while chunk := list(islice(files, CHUNK)):
        swept += _sweep_strays(org_id, chunk, now, adopt=exists)
    with tenancy.organization(org_id):
        blobs = Blob.objects.abandoned().filter(org_id=org_id, staged_at__lt=now - ABANDONED_AFTER)
        ids = list(blobs.values_list("pk", flat=True))
    return swept + sum(_delete_abandoned(org_id, blob_id, now) for blob_id in ids)


def _sweep_strays(org_id: int, keys: list[str], now: datetime, *, adopt: bool) -> int:
    """Old files without a row go at once where that is safe; others get a row to be swept by.

    Such files are half-written content, a purged organization's, or newer than a database that was
    restored from a backup. Returns how many went.
    """
    digests = {digest for key in keys if (digest := storage.digest_in(key))}
    with tenancy.organization(org_id):
        blobs = Blob.objects.filter(org_id=org_id, digest__in=digests)
        known = set(blobs.values_list("digest", flat=True))
    deleted, strays = 0, []
    for key in keys:
        digest = storage.digest_in(key)
        written = None if digest in known else storage.written_at(key)
        if written is None or written >= now - ABANDONED_AFTER:
            continue
        if digest is None or not adopt:
            storage.delete_file(key)
            deleted += 1
        else:
            strays.append(_stray(org_id, digest, key, written))
    if strays:
        with tenancy.organization(org_id):
            # A push that has announced the same content by now keeps its own row.
            Blob.objects.bulk_create(strays, ignore_conflicts=True)
    return deleted


def _stray(org_id: int, digest: str, key: str, written: datetime) -> Blob:
    return Blob(
        org_id=org_id,
        digest=digest,
        size_bytes=storage.size_of(key),
        references=0,
        created_at=written,
        staged_at=written,
    )


def _delete_abandoned(org_id: int, blob_id: int, now: datetime) -> bool:
    """One blob goes, row and file; says whether it was still abandoned.

    The file goes while the row's deletion is not committed yet: that row is the lock at which a push
    of the same content waits, to write it anew afterwards. It is the one call to storage inside a
    transaction: for one file, in a nightly task.
    """
    with tenancy.organization(org_id):
        blob = (
            Blob.objects.abandoned()
            .filter(pk=blob_id, org_id=org_id, staged_at__lt=now - ABANDONED_AFTER)
            .filter(~Exists(VersionFile.objects.filter(blob=OuterRef("pk"))))
            .select_for_update()
            .first()
        )
        if blob is None:
            return False
        Blob.objects.filter(pk=blob_id).delete()
        storage.delete_content(org_id, blob.digest)
    return True
