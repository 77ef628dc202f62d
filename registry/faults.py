"""Which of protoc's errors tell of a fault, and which only follow from one elsewhere. Pure.

protoc takes up files in their order and ends with the first that fails. A file that does nothing but
import all others has it go through every one of them; then whoever imports a faulty file fails with
it, and so does what names something of that file.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from registry.protoc import ProtoError

# A path that no pushed file can have.
EVERY_FILE = "<every file>.proto"
_IMPORT = re.compile(r'Import "(?P<path>.+)" was not found or had errors\.')
_UNDEFINED = re.compile(r'"(?P<name>[\w.]+)" is not defined\.')
_UNKNOWN_OPTION = re.compile(r'Option ".+" unknown\.')
_DECLARED = re.compile(rb"\b(?:message|enum|group)\s+(\w+)")
_NOT_FOUND = "File not found."


def importing_all(paths: Iterable[str]) -> str:
    """The text of a file that imports all of these. Publicly, since of other imports protoc warns."""
    return "".join(['syntax = "proto3";\n', *(f'import public "{path}";\n' for path in paths)])


def own_faults(errors: Iterable[ProtoError], sources: Mapping[str, bytes]) -> list[ProtoError]:
    """The errors without those that another file's cause, by file, line and column, each once.

    `sources` are the files that were compiled, by the path that errors call them.
    """
    found = {error for error in errors if error.file != EVERY_FILE}
    targets: defaultdict[str, set[str]] = defaultdict(set)
    for error in found:
        if imported := _IMPORT.fullmatch(error.message):
            targets[error.file].add(imported["path"])
    named = set().union(*targets.values())
    placed = {error.file for error in found if error.line is not None}
    failed = named & (sources.keys() | placed)
    texts = [sources[path] for path in failed & sources.keys()]
    declared = {name.decode() for text in texts for name in _DECLARED.findall(text)}
    told = [
        error
        for error in found
        if not (targets[error.file] & failed and _follows(error, failed, declared))
        and not (error.line is None and error.message == _NOT_FOUND and error.file in named)
    ]
    return sorted(told, key=_place)


def _follows(error: ProtoError, failed: set[str], declared: set[str]) -> bool:
    """Whether an error, in a file that imports a faulty one, may be that one's doing."""
    if imported := _IMPORT.fullmatch(error.message):
        return imported["path"] in failed
    if undefined := _UNDEFINED.fullmatch(error.message):
        return undefined["name"].rpartition(".")[2] in declared
    return _UNKNOWN_OPTION.match(error.message) is not None


def first_of_each(errors: Sequence[ProtoError], limit: int) -> list[ProtoError]:
    """At most `limit` of the errors in their order, so that no file hides another's first ones."""
    seen: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for error in errors:
        ranked.append((seen[error.file], error))
        seen[error.file] += 1
    chosen = sorted(ranked, key=lambda one: one[0])[:limit]
    return sorted((error for _, error in chosen), key=_place)


def _place(error: ProtoError) -> tuple[str, int, int, str]:
    return error.file, error.line or 0, error.column or 0, error.message
