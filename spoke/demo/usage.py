"""Believable usage: busy on weekdays by day, quiet at night, growing slowly. Always the same."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from spoke.demo.content import SEASONS

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
        growth = 1 + (at - start) / timedelta(days=720)
        number = round(activity(at) * growth * chance.uniform(350, 900))
        if number:
            counts[int(at.timestamp())] = number
    return counts


def compile_jobs(start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """(hour, jobs): pipelines run after pushes, on weekdays; some months are busier than others."""
    jobs = []
    for at in hours_between(start, end):
        if at.hour not in (9, 11, 14, 16):
            continue
        season = SEASONS[(at.year - start.year) * 12 + at.month - start.month]
        chance = random.Random(SEED * 7 + int(at.timestamp()))  # noqa: S311 - not for secrets
        number = round(activity(at) * season * chance.uniform(0, 32))
        if number:
            jobs.append((at, number))
    return jobs


def events(now: datetime) -> list[dict[str, Any]]:
    """What a build farm of the organization reported of the last 30 days; the same at each call."""
    found = []
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for at in hours_between(today - timedelta(days=30), now - HOUR):
        if at.hour % 3 or activity(at) < 0.1:
            continue
        chance = random.Random(SEED * 13 + int(at.timestamp()))  # noqa: S311 - not for secrets
        facts: dict[str, tuple[str, dict[str, str]]] = {
            "artifact_downloads": ("1", {"module": chance.choice(["common", "robots"])}),
            "compile_seconds": (f"{activity(at) * chance.uniform(20, 240):.3f}", {}),
            "active_developers": ("1", {"user": f"developer-{chance.randrange(9)}"}),
            "peak_concurrency": (str(chance.randrange(1, 12)), {}),
        }
        found += [
            {
                "idempotency_key": f"demo-{meter}-{at:%Y%m%d%H}",
                "meter": meter,
                "quantity": quantity,
                "timestamp": (at + timedelta(minutes=chance.randrange(60))).isoformat(),
                "properties": properties,
            }
            for meter, (quantity, properties) in facts.items()
        ]
    return found


def first_of_month(at: datetime, months_back: int) -> datetime:
    """The first of the month so many months back, 00:00 UTC."""
    index = at.year * 12 + at.month - 1 - months_back
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
