"""The embedded Valkey (or Redis): how it is started and asked whether it serves."""

import contextlib
from functools import cached_property
from pathlib import Path

from .binaries import find_valkey
from .server import Runner, Server, connect

SOCKET = "valkey.sock"


class Valkey(Server):
    pidfile = "valkey.pid"

    @cached_property
    def folder(self) -> Path:
        return self.instance.data_folder(self.user)

    @cached_property
    def program(self) -> Path:
        return find_valkey(self.user, spare=self.folder.parents[1] / "packages")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self, run: Runner) -> None:
        self.user.own(self.data)

    def command(self, sockets: Path) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket(sockets)),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "pidfile": str(self.data / self.pidfile),
            "set-proc-title": "no",  # the command line is how the process is recognised
            "daemonize": "no",
            "save": "",
            "appendonly": "no" if self.instance.ephemeral else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",  # a broker that evicts loses tasks
            "databases": "128",  # every worker of a test run has its own
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [str(self.program), *options]

    @classmethod
    def socket(cls, sockets: Path) -> Path:
        return sockets / SOCKET

    @classmethod
    def url(cls, sockets: Path) -> str:
        return f"unix://{cls.socket(sockets)}"

    @classmethod
    def answers(cls, sockets: Path) -> bool:
        try:
            with contextlib.closing(connect(cls.socket(sockets))) as client:
                client.sendall(b"PING\r\n")
                return client.recv(5) == b"+PONG"  # and not -LOADING
        except OSError:
            return False
