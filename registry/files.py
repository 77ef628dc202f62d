"""What may be pushed: the rules for paths and for a version's set of files. Pure.

A path must mean the same file on every system that unpacks a version, so names that differ only by
case, or a name that is a file here and a folder there, are refused, as is whatever hides in a name.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from registry.references import Reference

MAX_FILES = 1_000
MAX_FOLDERS = 1_000  # each is made for the compiler, which takes longer than a file
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_PATH_LENGTH = 512
MAX_SEGMENT_BYTES = 255  # what common file systems allow
NOT_EVERYWHERE = frozenset('<>:"|?*')
EXTENSIONS = (".proto", ".md", ".txt", ".yaml", ".yml", ".json")
NAMES_WITHOUT_EXTENSION = frozenset({"LICENSE", "NOTICE", "buf.lock"})


@dataclass(frozen=True)
class Problem:
    """Why a path is refused: a stable code and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True)
class PushedFile:
    """A file as it was pushed."""

    path: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the content: where it is stored, and its entity tag."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Push:
    """A version to publish; the files have passed the rules of this module."""

    version: str
    description: str
    files: tuple[PushedFile, ...]
    dependencies: tuple[Reference, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The sizes of its files together."""
        return sum(len(file.content) for file in self.files)

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """Each content once, by digest, in the order of digests."""
        return dict(sorted((file.digest, file.content) for file in self.files))

    @cached_property
    def content_digest(self) -> str:
        """Hex SHA-256 over a line for each path and one for its digest, by the paths' bytes."""
        rows = sorted((file.path.encode(), file.digest.encode()) for file in self.files)
        return hashlib.sha256(b"".join(b"%s\n%s\n" % row for row in rows)).hexdigest()


def path_problem(path: str) -> Problem | None:
    """Why this path cannot be stored, or None."""
    return _form_problem(path) or _segment_problem(path.split("/"))


def _form_problem(path: str) -> Problem | None:
    if not path:
        return Problem("blank", "A path is not empty.")
    if len(path) > MAX_PATH_LENGTH:
        return Problem("max_length", f"A path has at most {MAX_PATH_LENGTH} characters.")
    if not path.isprintable():
        return Problem("invalid_path", "A path has no control or invisible characters.")
    if "\\" in path:
        return Problem("invalid_path", "The segments of a path are separated by /.")
    if NOT_EVERYWHERE & set(path):
        return Problem("invalid_path", 'A path has none of < > : " | ? *, which Windows refuses.')
    if unicodedata.normalize("NFC", path) != path:
        return Problem("invalid_path", "A path is in Unicode's normal form C.")
    return None


def _segment_problem(segments: list[str]) -> Problem | None:
    if any(segment in ("", ".", "..") for segment in segments):
        return Problem("invalid_path", "A path is relative, without empty, . or .. segments.")
    if any(segment != segment.strip() or segment.endswith(".") for segment in segments):
        return Problem(
            "invalid_path", "A segment of a path has no space at its ends, and no dot at its end."
        )
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return Problem("max_length", f"A segment of a path has at most {MAX_SEGMENT_BYTES} bytes.")
    name = segments[-1]
    if name not in NAMES_WITHOUT_EXTENSION and (
        name in EXTENSIONS or not name.endswith(EXTENSIONS)
    ):
        allowed = ", ".join((*EXTENSIONS, *sorted(NAMES_WITHOUT_EXTENSION)))
        return Problem("unsupported_file_type", f"A version holds only these: {allowed}.")
    return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def set_problems(paths: Sequence[str]) -> dict[int, Problem]:
    """Which of the paths, by their place, cannot stand beside an earlier one, and why."""
    problems: dict[int, Problem] = {}
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for index, path in enumerate(paths):
        parts = path.split("/")
        parents = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        problem = _clash(path, parents, files, folders)
        if problem is not None:
            problems[index] = problem
            continue
        files[_folded(path)] = path
        folders.update((_folded(parent), parent) for parent in parents)
        if len(folders) > MAX_FOLDERS:
            detail = f"A version has at most {MAX_FOLDERS} folders; here it would have more."
            problems[index] = Problem("too_many_folders", detail)
            break
    return problems


def _clash(
    path: str, parents: list[str], files: dict[str, str], folders: dict[str, str]
) -> Problem | None:
    same = files.get(_folded(path))
    if same == path:
        return Problem("duplicate_path", "This path appears twice.")
    if same is not None:
        return Problem("case_conflict", f"Differs only by case from {same}.")
    if _folded(path) in folders:
        return Problem("file_is_folder", f"{path} is a folder elsewhere in this version.")
    for parent in parents:
        if _folded(parent) in files:
            return Problem("file_is_folder", f"{parent} is a file elsewhere in this version.")
        if folders.get(_folded(parent), parent) != parent:
            return Problem(
                "case_conflict", f"The folder {parent} differs only by case from another."
            )
    return None


def has_proto(paths: Sequence[str]) -> bool:
    """Whether at least one file is a Protobuf definition."""
    return any(path.endswith(".proto") for path in paths)
