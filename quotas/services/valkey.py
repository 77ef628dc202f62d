"""The limiter's keys and scripts in Valkey."""

from functools import cache
from pathlib import Path

from spoke.core.valkey import (
    SHARDS,
    Script,
    call,
    is_silent,
    load_script,
    request_client,
    shard_of,
    task_client,
)

__all__ = ["SHARDS", "Script", "call", "is_silent", "request_client", "shard_of", "task_client"]
LUA = Path(__file__).resolve().parents[1] / "lua"


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


@cache
def script(name: str) -> Script:
    """The script of that name in quotas/lua."""
    return load_script(LUA / f"{name}.lua")
