"""A small HTTP server that answers by a script, and keeps what it was asked."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer; status 0 hangs up without one, `cut` sends only so many bytes of the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int | None = None


def problem(status: int, code: str, detail: str = "No.", **extra: Any) -> Reply:
    headers = extra.pop("headers", {})
    body = {"status": status, "code": code, "detail": detail, "errors": [], "request_id": "r-1"}
    return Reply(status, {**body, **extra}, headers, "application/problem+json")


HANG_UP = Reply(0)


class StandIn:
    """Answers each `METHOD path` with its replies in turn, the last one for good."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self._replies: dict[str, list[Reply | Callable[[Asked], Reply]]] = {}

    def on(self, call: str, *replies: Reply | Callable[[Asked], Reply]) -> None:
        self._replies[call] = list(replies)

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        replies = self._replies.get(f"{asked.method} {asked.path}")
        if not replies:
            return problem(404, "not_found", f"Nothing at {asked.method} {asked.path}.")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply(asked) if callable(reply) else reply

    def calls(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    world: StandIn

    def log_message(self, *arguments: Any) -> None:
        """Tests look at `asked`."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(
            self.command, parts.path, parse_qsl(parts.query), dict(self.headers.items()), body
        )
        reply = self.world.answer(asked)
        self.close_connection = True
        if reply.status == 0:
            return
        raw = isinstance(reply.body, bytes)
        payload = (
            reply.body if raw else b"" if reply.body is None else json.dumps(reply.body).encode()
        )
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(payload)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload[: reply.cut])

    do_GET = do_POST = _serve  # noqa: N815


@contextmanager
def standing_in(tls: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    class Handler(_Handler):
        """Of this server alone."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "https" if tls else "http"
        Handler.world = StandIn(f"{scheme}://127.0.0.1:{server.server_address[1]}")
        if tls:
            # The handshake in the thread of its connection, where it may fail.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Handler.world
        finally:
            server.shutdown()
            thread.join()
