"""The embedded PostgreSQL: how it is set up, started and asked whether it serves."""

import contextlib
import locale
import shutil
import signal
import struct
from functools import cached_property
from pathlib import Path

from .binaries import find_postgres, postgres_major
from .errors import DevServerError
from .server import Runner, Server, connect

ROLE = DATABASE = "spoke"

# Given to the single-user server, one statement a line, before anybody else can connect. The role
# is no superuser: row-level security binds it. It creates test databases and the runtime role.
# Extensions made in template1 are in every database created later. A build may lack one.
BOOTSTRAP = f"""\
do $$ begin create extension citext; exception when others then null; end $$;
do $$ begin create extension pg_stat_statements; exception when others then null; end $$;
create role {ROLE} login createdb createrole;
create database {DATABASE} owner {ROLE};
select 'has ' || extname from pg_extension;
"""


class Postgres(Server):
    pidfile = "postmaster.pid"
    signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # fast, immediate, last resort

    @cached_property
    def folder(self) -> Path:
        return self.instance.data_folder(self.user)

    @cached_property
    def programs(self) -> Path:
        return find_postgres(self.user, spare=self.folder.parents[1] / "packages")

    @cached_property
    def major(self) -> int:
        return postgres_major(self.programs)

    @property
    def data(self) -> Path:
        # Another major version cannot read the files: it gets a folder of its own.
        return self.folder / f"data-{self.major}"

    def prepare(self, run: Runner) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        self.user.own(new)
        run.run([str(self.programs / "initdb"), "-D", str(new), *self._initdb_options()])
        single = [str(self.programs / "postgres"), "--single", "-D", str(new), "template1"]
        said = run.run(single, stdin=BOOTSTRAP)
        if "ERROR:" in said or "FATAL:" in said:
            raise DevServerError(f"setting up PostgreSQL failed:\n{said}")
        if "has pg_stat_statements" in said:
            with (new / "postgresql.conf").open("a") as config:
                config.write("\nshared_preload_libraries = 'pg_stat_statements'\n")
        new.rename(self.data)

    def _initdb_options(self) -> list[str]:
        options = ["-U", "postgres", "-A", "trust", "--encoding=UTF8", "--no-instructions"]
        options.append(f"--locale={'C.UTF-8' if _knows_c_utf8() else 'C'}")
        if self.major >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [*options, "--no-sync"] if self.instance.ephemeral else options

    def command(self, sockets: Path) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if (
            self.instance.ephemeral
        ):  # nothing here outlives the test run, so nothing is worth a wait
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), *options]

    @classmethod
    def socket(cls, sockets: Path) -> Path:
        return sockets / ".s.PGSQL.5432"

    @classmethod
    def url(cls, sockets: Path) -> str:
        # The form of django-environ's env.db() for a socket: an empty host, the folder in the path.
        return f"postgres://{ROLE}@/{sockets}/{DATABASE}"

    @classmethod
    def answers(cls, sockets: Path) -> bool:
        """Log in as clients do; a server that is starting or stopping answers with an error."""
        words = b"user\0" + ROLE.encode() + b"\0database\0" + DATABASE.encode() + b"\0\0"
        try:
            with contextlib.closing(connect(cls.socket(sockets))) as client:
                client.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
                with client.makefile("rb") as stream:
                    while len(head := stream.read(5)) == 5:
                        kind, size = struct.unpack("!ci", head)
                        stream.read(size - 4)
                        if kind == b"Z":  # ready for query
                            client.sendall(b"X\0\0\0\4")
                            return True
                        if kind == b"E":
                            return False
        except OSError:
            pass
        return False


def _knows_c_utf8() -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return False
    else:
        return True
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
