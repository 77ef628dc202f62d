"""In which order credits are used, and how much of each. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Available:
    """A credit with something left, in minor units."""

    id: int
    remaining: int
    priority: int
    expires_at: datetime | None
    created_at: datetime


def used_of(credits_: Iterable[Available], amount: int) -> list[tuple[Available, int]]:
    """How much of each credit pays an amount: the lowest priority first, of equal ones what expires
    sooner, then the older. They pay the amount or all that is left, whichever is less.
    """
    used = []
    for credit in sorted(credits_, key=_order):
        taken = min(credit.remaining, amount)
        if taken > 0:
            used.append((credit, taken))
            amount -= taken
    return used


def _order(credit: Available) -> tuple[int, datetime, datetime, int]:
    return credit.priority, credit.expires_at or NEVER, credit.created_at, credit.id
