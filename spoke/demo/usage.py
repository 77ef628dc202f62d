"""Believable usage: busy on weekdays by day, quiet at night, growing slowly. Always the same."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

SEED = 2026
HOUR = timedelta(hours=1)


def hours_between(start: datetime, end: datetime) -> Iterator[datetime]:
    """Every full hour from start to before end."""
    at = start.replace(minute=0, second=0, microsecond=0)
    while at < end:
        yield at
        at += HOUR


def activity(at: datetime) -> float:
    """How busy an hour is, 0 to 1."""
    by_day = max(0.0, math.sin((at.hour - 5) / 14 * math.pi)) if 5 <= at.hour <= 19 else 0.0
    return (0.08 + 0.92 * by_day) * (1.0 if at.weekday() < 5 else 0.22)


def api_requests(start: datetime, end: datetime) -> dict[int, int]:
    """Requests by hour (seconds since the epoch)."""
    counts = {}
    for at in hours_between(start, end):
        chance = random.Random(SEED + int(at.timestamp()))  # noqa: S311 - not for secrets
        growth = 1 + (at - start) / timedelta(days=180)
        number = round(activity(at) * growth * chance.uniform(350, 900))
        if number:
            counts[int(at.timestamp())] = number
    return counts


def compile_jobs(start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """(hour, jobs): pipelines run after pushes, on weekdays."""
    jobs = []
    for at in hours_between(start, end):
        chance = random.Random(SEED * 7 + int(at.timestamp()))  # noqa: S311 - not for secrets
        number = round(activity(at) * chance.uniform(0, 4))
        if number and at.hour in (9, 11, 14, 16):
            jobs.append((at, number))
    return jobs


def first_of_month(at: datetime, months_back: int) -> datetime:
    """The first of the month so many months back, 00:00 UTC."""
    index = at.year * 12 + at.month - 1 - months_back
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
