"""The content of files: announced, held and dropped. registry.storage tells the whole order.

Blobs are always locked in the order of their digests, and before the storage gauge.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum

from quotas.resources import Resource
from quotas.services.reservations import release, reserve
from registry.files import PushedFile
from registry.models import Blob, VersionFile
from spoke.core.errors import ServiceUnavailable


def unheld_bytes(*, org_id: int, contents: Mapping[str, bytes]) -> int:
    """How many bytes of these contents no version of the organization holds yet."""
    held = Blob.objects.counted().filter(org_id=org_id, digest__in=contents)
    known = set(held.values_list("digest", flat=True))
    return sum(len(content) for digest, content in contents.items() if digest not in known)


def announce_contents(
    *, org_id: int, contents: Mapping[str, bytes], now: datetime
) -> dict[str, bytes]:
    """The sweep leaves these contents alone for a day; returns those that must be written.

    To be committed before writing. Content that a version holds is in storage already.
    """
    Blob.objects.bulk_create(
        [
            Blob(
                org_id=org_id,
                digest=digest,
                size_bytes=len(content),
                references=0,
                created_at=now,
                staged_at=now,
            )
            for digest, content in sorted(contents.items())
        ],
        update_conflicts=True,
        unique_fields=["org", "digest"],
        update_fields=["staged_at"],
    )
    unheld = Blob.objects.abandoned().filter(org_id=org_id, digest__in=contents)
    return {digest: contents[digest] for digest in unheld.values_list("digest", flat=True)}


def hold_contents(*, org_id: int, files: Sequence[PushedFile], now: datetime) -> dict[str, Blob]:
    """Counts a reference for each file, and the storage of what had none; the blobs by digest.

    Raises QuotaExceeded, and ServiceUnavailable where the content was not announced within the day.
    """
    wanted = Counter(file.digest for file in files)
    blobs = {blob.digest: blob for blob in _locked(org_id, digest__in=wanted)}
    if len(blobs) != len(wanted):
        raise ServiceUnavailable("The push took too long. Send it again.", code="push_expired")
    new_bytes = sum(blob.size_bytes for blob in blobs.values() if not blob.references)
    reserve(org_id=org_id, resource=Resource.STORAGE, amount=new_bytes, now=now)
    for times in set(wanted.values()):
        ids = [blobs[digest].pk for digest, count in wanted.items() if count == times]
        Blob.objects.filter(pk__in=ids).update(references=F("references") + times)
    return blobs


def drop_contents(*, org_id: int, files: QuerySet[VersionFile], now: datetime) -> int:
    """These files' rows go; what nothing else refers to is not counted any more. Bytes freed.

    The content itself stays in storage until the sweep, so that a push under way may rely on it.
    """
    ids = [blob.pk for blob in _locked(org_id, pk__in=files.values("blob_id"))]
    own = files.filter(blob=OuterRef("pk")).order_by().values("blob").annotate(n=Count("pk"))
    blobs = Blob.objects.filter(org_id=org_id, pk__in=ids)
    blobs.update(references=F("references") - Subquery(own.values("n")))
    freed = blobs.abandoned().aggregate(total=Sum("size_bytes"))["total"] or 0
    files.delete()
    release(org_id=org_id, resource=Resource.STORAGE, amount=freed, now=now)
    return int(freed)


def _locked(org_id: int, **which: object) -> list[Blob]:
    blobs = Blob.objects.filter(org_id=org_id, **which)
    return list(blobs.order_by("digest").select_for_update())
