"""From a folder to the archive that is pushed."""

import gzip
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pathspec import GitIgnoreSpec

from spoke.cli.errors import UsageProblem
from spoke.cli.output import size

IGNORE_FILE = ".spokeignore"
EXTENSIONS = (".proto", ".md", ".txt", ".yaml", ".yml", ".json")
NAMES = frozenset({"LICENSE", "NOTICE", "buf.lock"})
# The server's limits; to find them out there would take a pointless upload.
MAX_FILES = 1_000
MAX_FILE_BYTES = 4 * 1024 * 1024
# What package managers put beside sources; `!node_modules/` in the file takes it back in.
IGNORED = ("node_modules/", "__pycache__/")
# Not every system has them.
OPENING = os.O_RDONLY | sum(
    getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "NONBLOCK", "BINARY")
)


@dataclass(frozen=True)
class SourceFile:
    """A file to push: its path in the version, and where it lies."""

    path: str
    source: Path
    size: int


def collect(folder: Path) -> list[SourceFile]:
    """The files below a folder that a version may hold, by path.

    Left out are hidden files and folders, node_modules and __pycache__, and what `.spokeignore` names.
    Raises UsageProblem for links, for what is no plain file, for too many or too large files, and when
    there is no .proto file.
    """
    found: list[SourceFile] = []
    for file in _walk(folder, _ignored(folder)):
        found.append(file)
        if len(found) > MAX_FILES:
            raise UsageProblem(
                f"{folder} holds more than {MAX_FILES:,} files that a version may hold.",
                hint=f"Name a narrower folder, or leave some out in {IGNORE_FILE}.",
            )
    if not any(file.path.endswith(".proto") for file in found):
        raise UsageProblem(f"There is no .proto file in {folder}.")
    return sorted(found, key=lambda file: file.path)


def pack(files: list[SourceFile], target: IO[bytes]) -> None:
    """Writes the files as tar.gz, the same bytes for the same files. Raises UsageProblem."""
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=target, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in files:
            try:
                _add(archive, file)
            except OSError as exc:
                raise UsageProblem(f"{file.source} cannot be read: {exc.strerror or exc}.") from exc


def _add(archive: tarfile.TarFile, file: SourceFile) -> None:
    # What has become a link since the walk is not followed.
    handle = os.open(file.source, OPENING)
    with os.fdopen(handle, "rb") as content:
        info = tarfile.TarInfo(file.path)
        info.size = os.fstat(content.fileno()).st_size
        archive.addfile(info, content)


def _ignored(folder: Path) -> GitIgnoreSpec:
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageProblem(f"{folder / IGNORE_FILE} cannot be read: {exc}.") from exc
    try:
        return GitIgnoreSpec.from_lines([*IGNORED, *lines])
    except ValueError as exc:
        raise UsageProblem(f"{folder / IGNORE_FILE}: {exc}.") from exc


def _walk(top: Path, ignored: GitIgnoreSpec) -> Iterator[SourceFile]:
    for here, folders, names in os.walk(top, onerror=_refuse):
        place = Path(here).relative_to(top)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not ignored.match_file(f"{_joined(place, name)}/")
        )
        for name in folders:
            if (Path(here) / name).is_symlink():
                raise _link(Path(here) / name)
        for name in names:
            path = _joined(place, name)
            if _allowed(name) and not ignored.match_file(path):
                yield _plain(path, Path(here) / name)


def _joined(place: Path, name: str) -> str:
    return str(PurePosixPath(place) / name)


def _allowed(name: str) -> bool:
    return name in NAMES or (name.endswith(EXTENSIONS) and not name.startswith("."))


def _plain(path: str, source: Path) -> SourceFile:
    try:
        status = source.lstat()
    except OSError as exc:
        raise UsageProblem(f"{source} cannot be read: {exc.strerror}.") from exc
    if stat.S_ISLNK(status.st_mode):
        raise _link(source)
    if not stat.S_ISREG(status.st_mode):
        raise UsageProblem(f"{source} is not a plain file.")
    if status.st_size > MAX_FILE_BYTES:
        raise UsageProblem(
            f"{source} has {size(status.st_size)}; a file has at most {size(MAX_FILE_BYTES)}.",
            hint=f"Leave it out in {IGNORE_FILE}, or divide it.",
        )
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        raise UsageProblem(f"{source!r} has a name that is not UTF-8.") from exc
    return SourceFile(path, source, status.st_size)


def _link(path: Path) -> UsageProblem:
    return UsageProblem(
        f"{path} is a link, which a version cannot hold.",
        hint=f"Put the file itself there, or name the link in {IGNORE_FILE}.",
    )


def _refuse(exc: OSError) -> None:
    raise UsageProblem(f"{exc.filename} cannot be read: {exc.strerror}.") from exc
