"""From a downloaded archive to a folder, which is all that it may touch."""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from spoke.cli.errors import CliError

MAX_FILES = 20_000
MAX_BYTES = 1024**3  # unpacked
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


class UnsafeArchive(CliError):
    """The archive is damaged, or reaches for what is not its own. Nothing was written."""


class WouldOverwrite(CliError):
    """Files of another content are there already. Nothing was written."""


@dataclass(frozen=True)
class Entry:
    """A file in an archive."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Unpacked:
    """Paths by what happened to them."""

    written: list[str]
    unchanged: list[str]


def unpack(
    archive: IO[bytes], into: Path, *, force: bool, digests: Mapping[str, str] | None = None
) -> Unpacked:
    """Unpacks a tar.gz or zip into a folder: all of it, or on a refusal or interruption nothing.

    The files are written to a folder of their own and then moved; a folder that was not there comes
    at once.

    Files that are there with the same content stay; others are only replaced with `force`. `digests`
    says by path which SHA-256 each file is to have. Raises UnsafeArchive and WouldOverwrite.
    """
    try:
        archive.seek(0)
        magic = archive.read(2)
        archive.seek(0)
        if magic == b"PK":
            with zipfile.ZipFile(archive) as opened:
                return _unpack(_zip_entries(opened), into, force, digests)
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            return _unpack(_tar_entries(tar), into, force, digests)
    except DAMAGED as exc:
        raise UnsafeArchive(f"The archive is damaged: {exc}.") from exc


def _tar_entries(tar: tarfile.TarFile) -> Iterable[Entry]:
    for member in tar:
        if member.isdir():
            continue
        if not member.isreg():
            raise UnsafeArchive(f"The archive holds a link or device: {member.name}.")
        yield Entry(member.name, member.size, partial(_open_member, tar, member))


def _open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(member)
    if opened is None:
        raise UnsafeArchive(f"The archive holds no content for {member.name}.")
    return opened


def _zip_entries(archive: zipfile.ZipFile) -> Iterable[Entry]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
            raise UnsafeArchive(f"The archive holds what is no plain file: {info.filename}.")
        yield Entry(info.filename, info.file_size, partial(archive.open, info))


def _unpack(
    found: Iterable[Entry], into: Path, force: bool, digests: Mapping[str, str] | None
) -> Unpacked:
    entries = _checked(found)
    new = {}
    for entry in entries:
        with entry.open() as content:
            new[entry.path] = sha256(content)
    if digests is not None and new != digests:
        differing = sorted(path for path in {*new, *digests} if new.get(path) != digests.get(path))
        raise UnsafeArchive(
            f"The archive is not what the version says it holds: {', '.join(differing[:5])}."
        )
    for path in new:
        _check_parents(into, path)
    unchanged = [path for path, digest in new.items() if _is_same(into / path, digest)]
    changing = [path for path in new if path not in set(unchanged)]
    there = [path for path in changing if os.path.lexists(into / path)]
    if there and not force:
        raise WouldOverwrite(
            f"{into} holds other content already; nothing was written.",
            lines=[str(into / path) for path in there[:20]],
            hint="--force replaces these files; -o names another folder.",
        )
    if changing or not into.exists():
        wanted = set(changing)
        _put([entry for entry in entries if entry.path in wanted], into)
    return Unpacked(written=changing, unchanged=unchanged)


def _checked(found: Iterable[Entry]) -> list[Entry]:
    entries: dict[str, Entry] = {}
    total = 0
    for entry in found:
        total += entry.size
        # Before the next header is read, which unpacks all that lies between.
        if total > MAX_BYTES or len(entries) >= MAX_FILES:
            raise UnsafeArchive("The archive is larger than any that Spoke makes.")
        if not _is_safe(entry.path):
            raise UnsafeArchive(f"The archive holds a path that leads elsewhere: {entry.path}.")
        folded = entry.path.casefold()
        if folded in entries:
            raise UnsafeArchive(f"The archive holds {entry.path} twice.")
        entries[folded] = entry
    return list(entries.values())


def _is_safe(path: str) -> bool:
    segments = path.split("/")
    # Both lead to other places on Windows.
    plain = "\\" not in path and ":" not in path
    return path.isprintable() and plain and not {"", ".", ".."} & set(segments)


def _check_parents(into: Path, path: str) -> None:
    """What is there already must not lead out of the folder, nor be a folder in a file's place."""
    place = into
    for segment in path.split("/")[:-1]:
        place = place / segment
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise WouldOverwrite(f"{place} is in the way: it is no plain folder.")
    target = into / path
    if target.is_dir() and not target.is_symlink():
        raise WouldOverwrite(f"{target} is in the way: it is a folder.")


def sha256(content: IO[bytes]) -> str:
    """Hex SHA-256 of what is left to read."""
    digest = hashlib.sha256()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _is_same(path: Path, digest: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as content:
        return sha256(content) == digest


def _put(entries: list[Entry], into: Path) -> None:
    """The files are in the folder when this returns; a link in a file's place is replaced by it."""
    # What is around a folder that is there may not be ours to write to.
    place = into if into.is_dir() else into.parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".spoke-") as scratch:
        # Made in the usual way, it has the mode that the umask says; the one around it is ours alone.
        staged = Path(scratch) / "files"
        staged.mkdir()
        for entry in entries:
            target = staged / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as content, target.open("xb") as made:
                shutil.copyfileobj(content, made)
        if not os.path.lexists(into):
            staged.rename(into)
            return
        for entry in entries:
            (into / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (staged / entry.path).replace(into / entry.path)
