"""`make setup`: the virtualenv with the locked requirements. Run by any Python >= 3.11, file by file.

A stamp in the virtualenv makes a second run instant; a lock makes two at once safe.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = VENV / ".spoke-requirements"
FILES = ("requirements.txt", "requirements-dev.txt")
OLDEST = (3, 11)
SHOW_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    if sys.version_info < OLDEST:
        return fail(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed, this is {sys.version}")
    if is_current():
        return 0
    if "--check" in sys.argv:
        return 1
    (ROOT / ".local").mkdir(exist_ok=True)
    with (ROOT / ".local" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if is_current() else install()


def is_current() -> bool:
    """Whether the last run installed just these files into a virtualenv that still works."""
    try:
        stamp = STAMP.read_text()
    except OSError:
        return False
    return stamp == wanted(version_in_venv())


def install() -> int:
    version = version_in_venv()
    if version is None or (os.environ.get("PYTHON") and version != own_version()):
        say(f"making .venv with Python {own_version()} ({sys.executable})")
        if not make_venv():
            return 1
        version = own_version()
    say("installing the locked requirements into .venv; the first time takes a minute or two")
    STAMP.unlink(missing_ok=True)
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, "-r", "requirements-dev.txt"], cwd=ROOT, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        return fail("pip failed; its message stands above. Is the package index reachable?")
    STAMP.write_text(wanted(version))
    return 0


def make_venv() -> bool:
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(VENV)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0 and version_in_venv() is not None:
        return True
    shutil.rmtree(VENV, ignore_errors=True)  # half a virtualenv would mislead the next run
    version = own_version()
    fail(
        f"{done.stdout}\nPython {version} ({sys.executable}) cannot make a virtualenv: its venv"
        f" module or ensurepip is missing. On Debian and Ubuntu: apt-get install python{version}-venv."
        " Or name another Python: make setup PYTHON=/path/to/python3"
    )
    return False


def version_in_venv() -> str | None:
    """The Python version of .venv; None if it is missing, broken or too old."""
    python = VENV / "bin" / "python"
    pip = list(VENV.glob("lib/python3*/site-packages/pip/__init__.py"))
    if not pip:
        return None
    try:
        done = subprocess.run(
            [python, "-c", SHOW_VERSION], stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = done.stdout.decode().strip()
    major, minor = version.split(".")
    return version if (int(major), int(minor)) >= OLDEST else None


def wanted(version: str | None) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((ROOT / name).read_bytes())
    return f"python {version} {digest.hexdigest()}\n"


def own_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def fail(text: str) -> int:
    print(f"setup: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
