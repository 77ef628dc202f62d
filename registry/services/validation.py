"""Whether a version's files parse and link, and what it breaks of the one before: protoc decides.

Nothing here may be called inside a transaction of the caller's: a run takes seconds at worst.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from registry import semver, storage
from registry.breaking import BreakingChange, breaking_changes
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
OWN, NEEDED, OUT = "src", "deps", "descriptors"
MAX_ERRORS = 100
MAX_CHANGES = 1_000


@dataclass(frozen=True)
class Comparison:
    """What a version breaks of the one before, and whether its number says so.

    `baseline_id` is the version compared with, None without one.
    """

    baseline_id: int | None
    changes: tuple[BreakingChange, ...]
    is_announced: bool

    @property
    def shown(self) -> tuple[BreakingChange, ...]:
        """The first of the changes, as many as an answer lists."""
        return self.changes[:MAX_CHANGES]


def descriptors_of(*, push: Push, needed: Sequence[SourceFile]) -> bytes:
    """The serialized FileDescriptorSet of the pushed files, without their imports.

    Raises InvalidInput with `invalid_proto` and each fault, or `compiler_failed`, `compiler_timeout`
    where protoc could not say; and ServiceUnavailable.
    """
    files = [(file.path, file.content) for file in push.files if file.path.endswith(".proto")]
    outcome, descriptors = _compile(files, needed)
    if outcome.succeeded:
        return descriptors
    raise _refusal(outcome, {path for path, _ in files})


def _compile(
    files: Sequence[tuple[str, bytes]], needed: Sequence[SourceFile]
) -> tuple[Outcome, bytes]:
    try:
        with working_folder() as folder:
            _write(folder / OWN, files)
            _write(
                folder / NEEDED,
                ((one.path, storage.read_content(one.org_id, one.digest)) for one in needed),
            )
            outcome = run_protoc(
                arguments=[
                    f"--proto_path={OWN}",
                    f"--proto_path={NEEDED}",
                    f"--descriptor_set_out={OUT}",
                    *(source_argument(OWN, path) for path, _ in files),
                ],
                folder=folder,
                limits=LIMITS,
            )
            return outcome, (folder / OUT).read_bytes() if outcome.succeeded else b""
    except OSError as exc:
        logger.exception("registry.protoc_not_run")
        raise ServiceUnavailable(
            "The compiler cannot be run at the moment. Try again.", code="compiler_unavailable"
        ) from exc


def _write(root: Path, files: Iterable[tuple[str, bytes]]) -> None:
    root.mkdir()
    made = {root}
    for path, content in files:
        target = root / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        target.write_bytes(content)


def _refusal(outcome: Outcome, own: set[str]) -> InvalidInput:
    if outcome.timed_out:
        detail = f"Compiling took longer than {LIMITS.wall_seconds:.0f} seconds."
        return InvalidInput(detail, code="compiler_timeout")
    if outcome.broke:
        return InvalidInput(
            "The compiler broke off: the files are nested too deeply, or need too much memory.",
            code="compiler_failed",
            log=outcome.log[:2_000],
        )
    errors = [_described(error, own) for error in outcome.errors[:MAX_ERRORS]]
    first = outcome.errors[0]
    return InvalidInput(
        f"The files do not compile: {_place(first.file)}: {first.message}",
        code="invalid_proto",
        errors=errors,
    )


def _described(error: ProtoError, own: set[str]) -> dict[str, Any]:
    path = _place(error.file)
    return {
        "field": f"files/{path}" if path in own else path,
        "code": "invalid_proto",
        "detail": error.message,
        "line": error.line,
        "column": error.column,
    }


def _place(file: str) -> str:
    """The path as it was pushed, of a path as protoc was given it."""
    return file.removeprefix(f"{OWN}/").removeprefix(f"{NEEDED}/")


def find_baseline(*, module: Module, version: str) -> Version | None:
    """The version before a new one by precedence, yanked ones left out."""
    before = Version.objects.in_use().filter(
        module=module, sort_key__lt=semver.parse(version).sort_key
    )
    return before.order_by("-sort_key").first()


def compare_with_baseline(
    *, baseline: Version | None, push: Push, descriptors: bytes, needed_ids: Sequence[int]
) -> Comparison:
    """What the push breaks of the version before it. Raises ServiceUnavailable.

    A version that does not compile, published before there was validation, is compared with nothing.
    """
    if baseline is None:
        return Comparison(None, (), is_announced=False)
    announced = semver.announces_breaking(before=baseline.version, after=push.version)
    old_files = source_files(org_id=baseline.org_id, versions=[baseline])
    closure = closure_of(version=baseline)
    new = sorted((f.path, f.digest) for f in push.files if f.path.endswith(".proto"))
    same = new == [(one.path, one.digest) for one in old_files]
    if same and sorted(needed_ids) == sorted(one.pk for one in closure):
        return Comparison(baseline.pk, (), is_announced=announced)
    contents = [(one.path, storage.read_content(one.org_id, one.digest)) for one in old_files]
    outcome, old = _compile(contents, source_files(org_id=baseline.org_id, versions=closure))
    if not outcome.succeeded:
        logger.warning("registry.baseline_does_not_compile", version=baseline.pk)
        return Comparison(baseline.pk, (), is_announced=announced)
    try:
        changes = tuple(breaking_changes(old, descriptors))
    except DecodeError as exc:
        raise InvalidInput(
            "The descriptors cannot be read: they are nested too deeply.", code="compiler_failed"
        ) from exc
    return Comparison(baseline.pk, changes, is_announced=announced)
