"""Where an instance keeps its locks, its data and its sockets, and under which user it runs.

Three needs pull apart: locks belong beside the checkout (so that everybody who works in it meets),
data must be reachable by the user the server runs under, and a socket's path must be short.
"""

import contextlib
import hashlib
import json
import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DevServerError

# The kernel's own limit is 104 bytes on macOS, 108 on Linux. The longest name in the folder is
# PostgreSQL's `.s.PGSQL.5432.lock`.
LONGEST_SOCKET_FOLDER = 104 - len("/.s.PGSQL.5432.lock") - 1


@dataclass(frozen=True)
class ServerUser:
    """Whom the servers run as: us, or nobody when we are root (PostgreSQL refuses root)."""

    uid: int
    gid: int
    switch: bool

    @classmethod
    def current(cls) -> "ServerUser":
        if os.geteuid() != 0:
            _require_name(os.geteuid())
            return cls(os.geteuid(), os.getegid(), switch=False)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise DevServerError(
                "running as root, and there is no user 'nobody' to run PostgreSQL as;"
                " set DATABASE_URL and REDIS_URL, or run as another user"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid, switch=True)

    def switching(self) -> dict[str, Any]:
        """What subprocess needs to start a program as this user."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can(self, test: str, path: Path) -> bool:
        """`test -x path` and the like, as that user: the only judge that knows every ACL."""
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                cwd="/",
                **self.switching(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DevServerError(
                f"running as root, but switching to 'nobody' failed ({error});"
                " set DATABASE_URL and REDIS_URL, or run as another user"
            ) from error
        return done.returncode == 0

    def own(self, folder: Path) -> None:
        """Make a folder that this user alone may enter."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.switch:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)


@dataclass(frozen=True)
class Instance:
    """One server of one checkout, and the folder of its locks."""

    root: Path
    service: str
    kind: str  # "dev", or "test-N" for the servers of one test run
    home: Path

    @classmethod
    def of(cls, *, root: Path, service: str, kind: str) -> "Instance":
        """The folder is chosen by what can be written; every user of the checkout agrees on it."""
        name = f"{kind}-{os.geteuid()}"
        key = _key(root)
        for base in (root / ".local" / "devservers", *_outside(key)):
            home = base / name / service
            if _makes(home):
                return cls(root, service, kind, home)
        raise DevServerError(
            f"no folder to keep the {service} server's files in; is the disk full?"
        )

    @property
    def key(self) -> str:
        """Tells checkouts apart outside of them."""
        return _key(self.root)

    @property
    def ephemeral(self) -> bool:
        return self.kind != "dev"

    def path(self, name: str) -> Path:
        return self.home / name

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def data_folder(self, user: ServerUser) -> Path:
        """The folder of the data: beside the locks if the server's user gets there, else outside.

        It belongs to the caller and others may pass through; the server's own folder goes inside.
        """
        name = f"{self.kind}-{os.geteuid()}"
        candidates = [self.home, *(b / name / self.service for b in _outside(self.key))]
        for folder in candidates:
            if not _makes(folder):
                continue
            if user.switch:
                # Passing through is all that others get: what lies inside is 0700.
                _open_the_way(folder)
            if user.can("-x", folder):
                return folder
        raise DevServerError(
            f"the {self.service} server's user (uid {user.uid}) reaches none of: "
            + ", ".join(map(str, candidates))
        )

    def sockets(self) -> Path | None:
        """Where the running, or last, server put its sockets; None before the first start.

        Written down and not derived, because TMPDIR differs between shells. A note that came
        along with a copied checkout is the original's and not ours: it names another lock file.
        """
        try:
            note = json.loads(self.path("sockets.json").read_text())
            here = self.path("users.lock").stat()
            if note["lock"] == [here.st_dev, here.st_ino]:
                return Path(note["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def make_sockets(self, user: ServerUser) -> Path:
        """A short 0700 folder for the sockets, the former one where it still serves."""
        seed = f"{self.root}\0{self.service}\0{self.kind}".encode()
        name = f"spoke-{os.geteuid()}-{hashlib.sha256(seed).hexdigest()[:12]}"
        former = self.sockets()
        bases = [tempfile.gettempdir(), "/tmp", "/var/tmp", str(Path.home())]
        candidates = [former] if former else []
        for folder in (*candidates, *(Path(base) / name for base in bases)):
            if len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and _private(folder, user):
                self._note_sockets(folder)
                return folder
        raise DevServerError(f"no folder for sockets among {', '.join(bases)}")

    def _note_sockets(self, folder: Path) -> None:
        here = self.path("users.lock").stat()
        new = self.path("sockets.json.new")
        new.write_text(json.dumps({"folder": str(folder), "lock": [here.st_dev, here.st_ino]}))
        new.replace(self.path("sockets.json"))


def _require_name(uid: int) -> None:
    """initdb looks its user up, and gives up on a bare number (`docker run --user 1234`)."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise DevServerError(
            f"user id {uid} has no name in /etc/passwd, without which PostgreSQL does not start;"
            " add one, run as another user, or set DATABASE_URL and REDIS_URL"
        ) from None


def _key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:12]


def _outside(key: str) -> list[Path]:
    """Folders outside the checkout that outlive a restart, best first."""
    if os.geteuid() == 0:
        return [Path("/var/lib/spoke-devservers") / key, Path("/var/tmp/spoke-devservers") / key]
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return [
        state / "spoke-devservers" / key,
        Path(f"/var/tmp/spoke-devservers-{os.geteuid()}") / key,
    ]


def _makes(folder: Path) -> bool:
    """Whether we have, or can make, this folder for ourselves."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError:
        return False
    return info.st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)


def _open_the_way(folder: Path) -> None:
    """Let the server's user pass through the four levels that this package makes, any umask."""
    for part in (folder, *folder.parents[:3]):
        with contextlib.suppress(OSError):
            part.chmod(stat.S_IMODE(part.stat().st_mode) | 0o111)


def _private(folder: Path, user: ServerUser) -> bool:
    """Make the folder the user's own. A folder that somebody else laid there first is refused."""
    try:
        folder.mkdir(mode=0o700)
        if user.switch:
            os.chown(folder, user.uid, user.gid)
    except FileExistsError:
        pass
    except OSError:
        return False
    info = folder.lstat()
    owned = stat.S_ISDIR(info.st_mode) and info.st_uid == user.uid
    return owned and stat.S_IMODE(info.st_mode) == 0o700 and user.can("-w", folder)
