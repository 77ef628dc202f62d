"""Where file content lies: Django's default storage, addressed by SHA-256, apart per organization.

Rows and files are two systems without a common transaction. The order that survives a `kill -9` at
any instant, and any concurrency:

1. A push announces its content: a Blob row for each digest, `staged_at` now, committed.
2. It writes the files that no version references yet, outside any transaction.
3. One transaction locks the blobs, raises `references` and counts the bytes of those that had none.

Deleting a version only lowers `references`. A nightly sweep removes a blob without references that
nobody has staged for a day: it deletes the row and, before committing, the file. A push of the same
content meanwhile waits at that row in step 1 and then writes the file anew. Hence a blob with
references always has its file, and whatever an interrupted push leaves behind is swept.

It rests on two properties of the storage backend: `save` replaces a file whole or not at all, and
keeps the name that it is given. AtomicFileSystemStorage has them, as object stores do when
configured to overwrite.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage

from spoke.core.errors import ServiceUnavailable

logger = structlog.get_logger(__name__)

ROOT = "org"
DIGEST = re.compile(r"[0-9a-f]{64}")
WRITERS = 8  # contents written at once
UNAVAILABLE = "The file storage is not reachable at the moment. Try again."


class AtomicFileSystemStorage(FileSystemStorage):
    """A local folder in which a file appears complete and durable, or not at all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_overwrite=True, **options)

    def _save(self, name: str, content: "File[bytes]") -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if self.file_permissions_mode is not None:
                Path(part).chmod(self.file_permissions_mode)
            Path(part).replace(target)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return name


def _sync_folder(folder: Path) -> None:
    # The name of a file survives a power cut only once its folder is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def key_of(org_id: int, digest: str) -> str:
    """The name under which an organization's content is stored."""
    return f"{ROOT}/{org_id}/{digest[:2]}/{digest}"


def write_contents(org_id: int, contents: Mapping[str, bytes]) -> None:
    """Each content is in storage, whole, when this returns. Call it outside any transaction.

    Raises ServiceUnavailable when the storage fails; what was written by then is harmless.
    """

    def write(digest: str) -> None:
        default_storage.save(key_of(org_id, digest), ContentFile(contents[digest]))

    try:
        # Most of it is waiting, for a disk to sync or for an object store to answer.
        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in pool.map(write, contents):
                pass
    except OSError as exc:
        logger.exception("registry.storage_write_failed", org_id=org_id)
        raise ServiceUnavailable(UNAVAILABLE, code="storage_unavailable") from exc


def read_content(org_id: int, digest: str) -> bytes:
    """The bytes with this digest. Raises ServiceUnavailable when the storage does not give them."""
    try:
        with default_storage.open(key_of(org_id, digest)) as file:
            content: bytes = file.read()
    except OSError as exc:
        logger.exception("registry.storage_read_failed", org_id=org_id, digest=digest)
        raise ServiceUnavailable(UNAVAILABLE, code="storage_unavailable") from exc
    return content


def delete_content(org_id: int, digest: str) -> None:
    """The file is gone; one that was not there is no error."""
    default_storage.delete(key_of(org_id, digest))


def list_folder(folder: str) -> tuple[list[str], list[str]]:
    """The folders and the files in a stored folder, sorted; none where it does not exist."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return [], []
    return sorted(folders), sorted(files)


def stored_organizations() -> list[int]:
    """The numbers of the organizations that have a folder."""
    return [int(name) for name in list_folder(ROOT)[0] if name.isascii() and name.isdigit()]


def stored_files(org_id: int) -> Iterator[str]:
    """The full name of every file of an organization, half-written ones included."""
    base = f"{ROOT}/{org_id}"
    for folder in list_folder(base)[0]:
        for name in list_folder(f"{base}/{folder}")[1]:
            yield f"{base}/{folder}/{name}"


def digest_in(key: str) -> str | None:
    """The digest that a stored file's name states; None when it is not one of content."""
    name = key.rsplit("/", 1)[-1]
    return name if DIGEST.fullmatch(name) else None


def written_at(key: str) -> datetime | None:
    """When the file was last written; None when it is gone by now."""
    try:
        return default_storage.get_modified_time(key)
    except FileNotFoundError:
        return None


def size_of(key: str) -> int:
    """The file's size in bytes."""
    return int(default_storage.size(key))


def delete_file(key: str) -> None:
    """A file that is no content of a living organization is gone."""
    default_storage.delete(key)
