"""The limiter's keys and connections in Valkey (or Redis 7).

Everything of one organization lies under its shard's hash tag, so that every script touches one slot
of a cluster.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

SHARDS = 64
# A request waits no longer for its limit; a task may.
REQUEST_TIMEOUT = 0.25
TASK_TIMEOUT = 5.0
LUA = Path(__file__).resolve().parents[1] / "lua"


def shard_of(org_id: int) -> int:
    """The shard an organization's counts lie in."""
    return org_id % SHARDS


def organization_key(org_id: int) -> str:
    """The limiter's state of an organization."""
    return f"spoke:{{{shard_of(org_id)}}}:limit:{org_id}"


def user_key(user_id: int) -> str:
    """The limiter's state of a person outside any organization."""
    return f"spoke:{{{shard_of(user_id)}}}:limit:user:{user_id}"


def requests_key(shard: int, generation: str = "") -> str:
    """The shard's counts that await the flush; with a generation, those set aside under its name.

    Fields are `<organization>:<hour as seconds since the epoch>`, and `generation`.
    """
    return f"spoke:{{{shard}}}:requests" + (f":{generation}" if generation else "")


def claimed_key(shard: int) -> str:
    """The set of the shard's generations that were set aside and are not yet written."""
    return f"spoke:{{{shard}}}:claimed"


@lru_cache(maxsize=8)
def _client(url: str, timeout: float) -> "Redis":
    # No retries: a script that counts must not run twice because its answer was late.
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )


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
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)


@cache
def script(name: str) -> Script:
    """The script of that name in quotas/lua."""
    source = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    # SHA-1 is how the protocol names scripts.
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
