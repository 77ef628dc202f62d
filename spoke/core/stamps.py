"""Version stamps: what a process remembers of an organization is good while its stamp stands.

Whoever changes who may do what in an organization, or how much of it, touches its stamp once the change
has committed. A request compares the stamp in the same script that counts it, so that the change acts on
the next request wherever that arrives. What is remembered must be loaded after its stamp was read: a
change in between then shows as another stamp.

A process killed between its commit and the touch, or one that cannot reach Valkey then, leaves others
with what they remember for at most PRINCIPAL_CACHE_SECONDS. Where Valkey merely does not answer, the
touch is made once it does.
"""

import uuid

import structlog
from django.db import transaction
from prometheus_client import Counter
from redis.exceptions import RedisError

from spoke.core import valkey

logger = structlog.get_logger(__name__)
MISSED = Counter(
    "spoke_stamps_missed_total", "Changes that could not be announced; others see them a bit later."
)
# Longer than anything is remembered; then the key is gone, and memory with it.
LIFE_SECONDS = 3600


def stamp_key(org_id: int) -> str:
    """Where an organization's stamp is kept; no key is a stamp as well, the empty one."""
    return f"spoke:{{{valkey.shard_of(org_id)}}}:stamp:{org_id}"


def read_stamp(org_id: int) -> str | None:
    """The organization's stamp; None while Valkey is away."""
    try:
        stamp = valkey.call(valkey.request_client(), "GET", stamp_key(org_id))
    except RedisError:
        return None
    return stamp.decode() if isinstance(stamp, bytes) else ""


def touch(org_id: int) -> None:
    """Once the transaction under way commits, what is remembered of the organization is void."""
    transaction.on_commit(lambda: _renew(org_id), robust=True)


def _renew(org_id: int) -> None:
    try:
        client = valkey.request_client()
        valkey.call(client, "SET", stamp_key(org_id), uuid.uuid4().hex, "EX", LIFE_SECONDS)
    except RedisError as exc:
        if valkey.afterwards(lambda: _renew(org_id)):
            return  # announced as soon as Valkey answers
        MISSED.inc()
        logger.error("stamps.not_touched", org_id=org_id, cause=repr(exc))
