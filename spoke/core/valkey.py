"""Connections to Valkey (or Redis 7), its shards, and scripts.

Everything of one organization lies under its shard's hash tag, so that every script touches one slot
of a cluster.
"""

import hashlib
import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from spoke.core.silence import Silence

SHARDS = 64
# A request waits no longer for Valkey; a task may.
REQUEST_TIMEOUT = 0.25
TASK_TIMEOUT = 5.0

_epochs = itertools.count(1)
_epoch = 0


def shard_of(number: int) -> int:
    """The shard that an organization's (or a person's) keys lie in."""
    return number % SHARDS


def epoch() -> int:
    """Changes with every connection that this process opens.

    A server that was restarted, or another that took its place, may have forgotten its last second;
    every connection to it is a new one. What was remembered under an older epoch is doubtful.
    """
    return _epoch


def _connected(connection: Any) -> None:
    global _epoch  # noqa: PLW0603 - one number for the process; next() is atomic
    _epoch = next(_epochs)
    connection.on_connect()


@lru_cache(maxsize=8)
def _client(url: str, timeout: float) -> "Redis":
    # No retries: a script that counts must not run twice because its answer was late.
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        redis_connect_func=_connected,
    )


class _Wires(threading.local):
    """A connection for each thread: the pool's book-keeping costs as much as the call itself."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.by_client: dict[Redis, Any] = {}

    def of(self, client: "Redis") -> Any:
        if self.owner != os.getpid():  # a fork shares no connection with its parent
            self.owner, self.by_client = os.getpid(), {}
        connection = self.by_client.get(client)
        if connection is None:
            # Not the pool's: it would count this one for ever, and makes only so many.
            pool = client.connection_pool
            connection = self.by_client[client] = pool.connection_class(**pool.connection_kwargs)
        return connection


_wires = _Wires()


def _is_stale(connection: Any) -> bool:
    """Whether the server closed the connection, or left an answer on it, since the last call."""
    try:
        return bool(connection.can_read(timeout=0))
    except RedisError:  # closed: some versions of the client say so by raising
        return True


def call(client: "Redis", *command: Any) -> Any:
    """One command on this thread's own connection. Raises RedisError.

    A connection that the server closed while it was idle is opened anew; a call is never sent twice.
    While the server is known not to answer, nothing is sent: a TimeoutError comes at once.
    """
    silence = _silence(settings.REDIS_URL)
    if silence.lasting:
        raise RedisTimeoutError("Valkey does not answer, and is asked aside until it does.")
    connection = _wires.of(client)
    try:
        if connection.is_connected and _is_stale(connection):
            connection.disconnect()
        connection.send_command(*command)
        return connection.read_response()
    except ResponseError:
        raise  # an answer like any other: the connection is in step
    except BaseException as error:
        connection.disconnect()  # or the next call would read this one's answer
        if isinstance(error, RedisTimeoutError):
            silence.begin()
        raise


@lru_cache(maxsize=8)
def _silence(url: str) -> Silence:
    return Silence(lambda: _client(url, REQUEST_TIMEOUT).ping())


os.register_at_fork(after_in_child=_silence.cache_clear)  # the watching thread is the parent's


def is_silent() -> bool:
    """Whether Valkey is known not to answer just now."""
    return _silence(settings.REDIS_URL).lasting


def noticed(error: Exception) -> None:
    """An error of another client of the same server, which may have waited in vain."""
    if isinstance(error, RedisTimeoutError):
        _silence(settings.REDIS_URL).begin()


def afterwards(act: Callable[[], object]) -> bool:
    """Keeps an act for when Valkey answers again. False where it is not kept."""
    return _silence(settings.REDIS_URL).afterwards(act)


def request_client() -> "Redis":
    """For the request path: gives up after REQUEST_TIMEOUT seconds."""
    return _client(settings.REDIS_URL, REQUEST_TIMEOUT)


def task_client() -> "Redis":
    """For tasks: gives up after TASK_TIMEOUT seconds."""
    return _client(settings.REDIS_URL, TASK_TIMEOUT)


@dataclass(frozen=True)
class Script:
    """A Lua script, run by its digest; a server that does not know it is told once."""

    source: str
    digest: str

    def __call__(self, client: "Redis", keys: list[str], args: list[Any]) -> Any:
        try:
            return call(client, "EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return call(client, "EVAL", self.source, len(keys), *keys, *args)


@cache
def load_script(path: Path) -> Script:
    """The script in a file."""
    source = path.read_text(encoding="utf-8")
    # SHA-1 is how the protocol names scripts.
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
