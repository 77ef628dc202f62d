"""Which thresholds a rising level passes. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

Number = TypeVar("Number", int, Decimal)


def crossed(
    *,
    previous: Number,
    current: Number,
    thresholds: Iterable[Number],
    recurring: Number | None = None,
) -> list[Number]:
    """The thresholds in (previous, current], ascending, each once.

    `recurring` goes on beyond the last threshold (from 0 where there is none) in steps of its own:
    one step beyond it, two steps, and so on. A level that falls or stays crosses nothing. Raises
    ValueError for a step that is not above 0.
    """
    if recurring is not None and recurring <= 0:
        raise ValueError("a threshold recurs at steps above 0")
    known: list[Number] = sorted(set(thresholds))
    found = [threshold for threshold in known if previous < threshold <= current]
    if recurring is not None and previous < current:
        last = known[-1] if known else recurring - recurring
        following = last + recurring
        if previous > last:
            following += (previous - last) // recurring * recurring
        while following <= current:
            found.append(following)
            following += recurring
    return found
