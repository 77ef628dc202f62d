"""Whether a version's files parse and link, and what it breaks of the one before: protoc decides.

Nothing here may be called inside a transaction of the caller's: a run takes seconds at worst.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from registry import semver, storage
from registry.breaking import BreakingChange, breaking_changes
from registry.faults import EVERY_FILE, first_of_each, importing_all, own_faults
from registry.files import Push
from registry.models import Module, Version
from registry.protoc import (
    Limits,
    Outcome,
    ProtoError,
    run_protoc,
    source_argument,
    working_folder,
)
from registry.services.dependencies import SourceFile, closure_of, source_files
from spoke.core.errors import InvalidInput, ServiceUnavailable

logger = structlog.get_logger(__name__)
LIMITS = Limits()
# Of a second run, which only looks for more to tell.
SEARCH_SECONDS, SEARCH_LOG_BYTES = 10.0, 1024 * 1024
OWN, NEEDED, EVERY, OUT = "src", "deps", "every", "descriptors"
MAX_ERRORS = 100
MAX_CHANGES = 1_000


@dataclass(frozen=True)
class Comparison:
    """What a version breaks of `baseline`, and whether its number allows it; without one nothing."""

    baseline: Version | None
    changes: tuple[BreakingChange, ...] = ()
    is_allowed: bool = True

    @property
    def shown(self) -> tuple[BreakingChange, ...]:
        """The first of the changes, as many as an answer lists."""
        return self.changes[:MAX_CHANGES]


def descriptors_of(*, push: Push, needed: Sequence[SourceFile]) -> bytes:
    """The serialized FileDescriptorSet of the pushed files, without their imports.

    Raises InvalidInput with `invalid_proto` and the faults of all files that have some of their own, or
    `compiler_failed`, `compiler_timeout` where protoc could not say; and ServiceUnavailable.
    """
    files = [(file.path, file.content) for file in push.files if file.path.endswith(".proto")]
    outcome, descriptors = _compile(files, needed, search=True)
    if outcome.succeeded:
        return descriptors
    raise _refusal(outcome, dict(files))


def _compile(
    files: Sequence[tuple[str, bytes]], needed: Sequence[SourceFile], *, search: bool = False
) -> tuple[Outcome, bytes]:
    """How it ended, and the descriptors. With `search` a failure names the errors of every file."""
    try:
        with working_folder() as folder:
            _write(folder / OWN, files)
            _write(
                folder / NEEDED,
                ((one.path, storage.read_content(one.org_id, one.digest)) for one in needed),
            )
            named = [source_argument(OWN, path) for path, _ in files]
            outcome = _run(folder, LIMITS, named)
            if search and not outcome.succeeded and not outcome.broke:
                outcome = _search(folder, outcome, [path for path, _ in files])
            return outcome, (folder / OUT).read_bytes() if outcome.succeeded else b""
    except OSError as exc:
        logger.exception("registry.protoc_not_run")
        raise ServiceUnavailable(
            "The compiler cannot be run at the moment. Try again.", code="compiler_unavailable"
        ) from exc


def _run(folder: Path, limits: Limits, arguments: Sequence[str]) -> Outcome:
    roots = [f"--proto_path={OWN}", f"--proto_path={NEEDED}"]
    out = f"--descriptor_set_out={OUT}"
    return run_protoc(arguments=[*roots, out, *arguments], folder=folder, limits=limits)


def _search(folder: Path, failed: Outcome, paths: Sequence[str]) -> Outcome:
    """The failed outcome, with what a run through all files finds besides."""
    _write(folder / EVERY, [(EVERY_FILE, importing_all(sorted(paths)).encode())])
    limits = replace(LIMITS, wall_seconds=SEARCH_SECONDS, log_bytes=SEARCH_LOG_BYTES)
    named = [f"--proto_path={EVERY}", source_argument(EVERY, EVERY_FILE)]
    return replace(failed, errors=failed.errors + _run(folder, limits, named).errors)


def _write(root: Path, files: Iterable[tuple[str, bytes]]) -> None:
    root.mkdir()
    made = {root}
    for path, content in files:
        target = root / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        target.write_bytes(content)


def _refusal(outcome: Outcome, own: Mapping[str, bytes]) -> InvalidInput:
    if outcome.timed_out:
        detail = f"Compiling took longer than {LIMITS.wall_seconds:.0f} seconds."
        return InvalidInput(detail, code="compiler_timeout")
    if outcome.broke:
        return InvalidInput(
            "The compiler broke off: the files are nested too deeply, or need too much memory.",
            code="compiler_failed",
            log=outcome.log[:2_000],
        )
    placed = [replace(error, file=_place(error.file)) for error in outcome.errors]
    # Where all of them seem to follow from others, they are what there is to tell.
    errors = own_faults(placed, own) or placed
    shown = first_of_each(errors, MAX_ERRORS)
    cut = f" Of {len(errors)} errors {MAX_ERRORS} are listed." if len(errors) > MAX_ERRORS else ""
    return InvalidInput(
        f"The files do not compile: {shown[0].file}: {shown[0].message}{cut}",
        code="invalid_proto",
        errors=[_described(error, own) for error in shown],
    )


def _described(error: ProtoError, own: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "field": f"files/{error.file}" if error.file in own else error.file,
        "code": "invalid_proto",
        "detail": error.message,
        "line": error.line,
        "column": error.column,
    }


def _place(file: str) -> str:
    """The path as it was pushed, of a path as protoc was given it."""
    root, _, path = file.partition("/")
    return path if root in (OWN, NEEDED, EVERY) else file


def find_baseline(*, module: Module, version: str) -> Version | None:
    """What a new version is compared with: the newest release before it, or else pre-release.

    By precedence, yanked ones left out. docs/adr/0022 says why it is not simply the version before.
    """
    before = Version.objects.in_use().filter(
        module=module, sort_key__lt=semver.parse(version).sort_key
    )
    return before.latest_first().first()


def compare_with_baseline(
    *, baseline: Version | None, push: Push, descriptors: bytes, needed_ids: Sequence[int]
) -> Comparison:
    """What the push breaks of its baseline. Raises ServiceUnavailable.

    A version that does not compile, published before there was validation, is compared with nothing.
    """
    if baseline is None:
        return Comparison(None)
    old_files = source_files(org_id=baseline.org_id, versions=[baseline])
    closure = closure_of(version=baseline)
    new = sorted((f.path, f.digest) for f in push.files if f.path.endswith(".proto"))
    same = new == [(one.path, one.digest) for one in old_files]
    if same and sorted(needed_ids) == sorted(one.pk for one in closure):
        return Comparison(baseline)
    contents = [(one.path, storage.read_content(one.org_id, one.digest)) for one in old_files]
    outcome, old = _compile(contents, source_files(org_id=baseline.org_id, versions=closure))
    if not outcome.succeeded:
        logger.warning("registry.baseline_does_not_compile", version=baseline.pk)
        return Comparison(baseline)
    try:
        changes = tuple(breaking_changes(old, descriptors))
    except DecodeError as exc:
        raise InvalidInput(
            "The descriptors cannot be read: they are nested too deeply.", code="compiler_failed"
        ) from exc
    allowed = semver.may_break(before=baseline.version, after=push.version)
    return Comparison(baseline, changes, is_allowed=allowed)
