"""Random lives of organizations: what is billed is what was used and had, to the cent.

A short one of each of a few seeds runs with the others. For long ones, at about two seconds a step:
`LIVES_SEED=100 LIVES_COUNT=50 LIVES_STEPS=25 pytest tests/scenarios/test_random_lives.py`.
What fails says its seed and all that happened; LIVES_LOG names a file for it while others go on.
"""

import os
import traceback
from pathlib import Path

import pytest
import stripe

from tests.support.lives.life import Life
from tests.support.lives.neighbour import Neighbour
from tests.support.lives.walk import live_through

SEED, COUNT, STEPS = (
    int(os.environ.get(f"LIVES_{name}", number))
    for name, number in (("SEED", 4), ("COUNT", 3), ("STEPS", 14))
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A call to Stripe that failed is tried again without waiting."""
    monkeypatch.setattr(stripe.RequestsClient, "_sleep_time_seconds", lambda *a, **k: 0)


def tell(text: str) -> None:
    """To the file of a long run."""
    if log := os.environ.get("LIVES_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{text}\n")


@pytest.mark.slow
def test_random_lives(world):
    neighbour = Neighbour(world)
    failures = []
    for seed in range(SEED, SEED + COUNT):
        try:
            live_through(Life(world, seed), STEPS)
            neighbour.check(world)
            tell(f"{seed}: nothing to complain of")
        except AssertionError as failure:
            failures.append("".join(traceback.format_exception(failure)))
            tell(f"{seed}: {failure}\n{failures[-1][-2000:]}")
    assert not failures, "\n\n".join(failures)
