"""What is compiled, how protoc is asked for it, and the archive made of what it wrote. No database.

Equal inputs, options and compiler give equal bytes: archives list their files sorted, with one time
and one mode.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.compile_models import Language
from registry.protoc import source_argument

# Changes whenever the same input would give another archive: arguments, layout, this format itself.
RECIPE = 1
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can tell
MODE = 0o100644 << 16
CHUNK = 1024 * 1024
UNIX = 3
OUTPUTS: dict[Language, tuple[str, ...]] = {
    Language.PYTHON: ("python", "pyi"),
    Language.CPP: ("cpp",),
    Language.CSHARP: ("csharp",),
    Language.JAVA: ("java",),
    Language.KOTLIN: ("java", "kotlin"),
    Language.OBJC: ("objc",),
    Language.PHP: ("php",),
    Language.RUBY: ("ruby",),
}
# Folders by namespace: in one folder files of equal names would be in each other's way.
OPTIONS = {"csharp": ["--csharp_opt=base_namespace="]}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is to be generated."""

    language: Language
    grpc: bool = False
    include_dependencies: bool = False


@dataclass(frozen=True, kw_only=True)
class Input:
    """A .proto file: its path, its content by owner and digest, and the import root that it is in.

    Root 0 is the version itself, the others are what it depends on.
    """

    root: int
    path: str
    org_id: int
    digest: str


@dataclass(frozen=True)
class Archive:
    """A zip file on disk."""

    file: Path
    sha256: str
    size_bytes: int
    files: int


def without_shadowed(inputs: Iterable[Input]) -> list[Input]:
    """Each path once, as the first import root has it: that is the one protoc finds."""
    found: dict[str, Input] = {}
    for entry in inputs:
        found.setdefault(entry.path, entry)
    return sorted(found.values(), key=lambda entry: (entry.root, entry.path))


def digest_of(*, inputs: Sequence[Input], options: Options, compiler: str) -> str:
    """Hex SHA-256 that stands for everything the archive depends on."""
    told = [
        RECIPE,
        compiler,
        options.language.value,
        options.grpc,
        options.include_dependencies,
        sorted([entry.path, entry.digest, entry.root == 0] for entry in inputs),
    ]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()


def arguments_for(
    *, inputs: Sequence[Input], options: Options, plugins: Sequence[str], roots: str, out: str
) -> list[str]:
    """protoc's arguments, with the import roots `roots/0`, `roots/1`, … and the output folder `out`."""
    numbers = sorted({entry.root for entry in inputs})
    arguments = [f"--proto_path={roots}/{number}" for number in numbers]
    for plugin in plugins:
        arguments += [f"--{plugin}_out={out}", *OPTIONS.get(plugin, [])]
    return arguments + [
        source_argument(f"{roots}/{entry.root}", entry.path)
        for entry in inputs
        if entry.root == 0 or options.include_dependencies
    ]


def write_archive(*, folder: Path, target: Path) -> Archive:
    """Packs everything below a folder; the same files always give the same bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = sorted((path.relative_to(folder).as_posix(), path) for path in files)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in names:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, MODE
            entry.create_system = UNIX
            with path.open("rb") as source, archive.open(entry, "w") as packed:
                while chunk := source.read(CHUNK):
                    packed.write(chunk)
    with target.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(target, sha256, target.stat().st_size, len(names))
