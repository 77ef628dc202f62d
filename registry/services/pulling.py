"""Versions given out whole."""

from collections.abc import Iterator
from typing import IO

from registry import storage
from registry.archives import Entry, write_tar_gz, write_zip
from registry.models import Version
from registry.services.versions import files_of

TAR_GZ, ZIP = "tar.gz", "zip"
WRITERS = {TAR_GZ: write_tar_gz, ZIP: write_zip}


def write_archive(*, version: Version, kind: str, out: IO[bytes]) -> None:
    """The files of a version by path, as `tar.gz` or `zip`; a version always gives the same bytes.

    Reads one file at a time. Raises ServiceUnavailable when the storage does not give one.
    """
    WRITERS[kind](_entries(version), out)


def _entries(version: Version) -> Iterator[Entry]:
    for file in files_of(version=version):
        yield Entry(file.path, storage.read_content(file.org_id, file.blob.digest))
