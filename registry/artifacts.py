"""Where archives of generated code lie: Django's default storage, apart per organization.

The name holds what was compiled (`digest`) and what came of it (`sha256`), so two archives never share a
file, and writing one again writes the same. It is written before the row that tells of it commits; what
a worker wrote and could not commit is swept (registry.services.compile_sweeping).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import structlog
from django.core.files.base import File
from django.core.files.storage import default_storage

from registry.storage import UNAVAILABLE, list_folder
from spoke.core.errors import ServiceUnavailable

logger = structlog.get_logger(__name__)

ROOT = "artifacts"
NAME = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})\.zip")


def key_of(org_id: int, digest: str, sha256: str) -> str:
    """The name under which an archive is stored."""
    return f"{ROOT}/{org_id}/{digest[:2]}/{digest}-{sha256}.zip"


def write_archive(org_id: int, digest: str, sha256: str, archive: Path) -> None:
    """The archive is in storage, whole, when this returns. Raises ServiceUnavailable."""
    try:
        with archive.open("rb") as file:
            default_storage.save(key_of(org_id, digest, sha256), File(file))
    except OSError as exc:
        logger.exception("registry.artifact_write_failed", org_id=org_id)
        raise ServiceUnavailable(UNAVAILABLE, code="storage_unavailable") from exc


def open_archive(org_id: int, digest: str, sha256: str) -> "IO[Any]":
    """The archive, for reading. Raises ServiceUnavailable when the storage does not give it."""
    try:
        return default_storage.open(key_of(org_id, digest, sha256))
    except OSError as exc:
        logger.exception("registry.artifact_read_failed", org_id=org_id, digest=digest)
        raise ServiceUnavailable(UNAVAILABLE, code="storage_unavailable") from exc


def delete_archive(org_id: int, digest: str, sha256: str) -> None:
    """The archive is gone; one that was not there is no error."""
    default_storage.delete(key_of(org_id, digest, sha256))


def stored_organizations() -> list[int]:
    """The numbers of the organizations that have archives."""
    return [int(name) for name in list_folder(ROOT)[0] if name.isascii() and name.isdigit()]


def stored_archives(org_id: int) -> Iterator[str]:
    """The full name of every file of an organization, half-written ones included."""
    base = f"{ROOT}/{org_id}"
    for folder in list_folder(base)[0]:
        for name in list_folder(f"{base}/{folder}")[1]:
            yield f"{base}/{folder}/{name}"


def digests_in(key: str) -> tuple[str, str] | None:
    """The digest and the SHA-256 that a stored file's name states; None where it states none."""
    found = NAME.fullmatch(key.rsplit("/", 1)[-1])
    return (found[1], found[2]) if found else None
