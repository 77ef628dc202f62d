"""A random life, step by step."""

from datetime import timedelta

from tests.support.lives import others, owners
from tests.support.lives.checks import check
from tests.support.lives.life import DAY, HOUR, Life

ACTIONS = (
    (owners.subscribe, 10),
    (owners.checkout, 2),
    (owners.change, 14),
    (owners.cancel, 6),
    (owners.reactivate, 4),
    (owners.cards, 6),
    (owners.budget, 3),
    (owners.work, 12),
    (owners.close, 1),
    (owners.reopen, 2),
    (owners.hours, 8),
    (owners.days, 6),
    (owners.turn_of_period, 10),
    (others.override, 3),
    (others.credit, 3),
    (others.credit_note, 4),
    (others.settle, 4),
    (others.suspension, 1),
    (others.by_hand, 4),
    (others.dashboard, 6),
    (others.bank, 6),
    (others.network, 8),
    (others.after_retries, 1),
)
# These have nothing to do without a subscription.
NEEDING = (owners.change, owners.cancel, owners.reactivate, owners.turn_of_period, others.dashboard)
BEGINNING = (*[owners.subscribe] * 6, owners.checkout, others.by_hand)


def live_through(life: Life, steps: int) -> None:
    """So many things happen; now and then, and at the end, all is looked at."""
    works = [work for work, _ in ACTIONS]
    weights = [weight for _, weight in ACTIONS]
    for number in range(1, steps + 1):
        life.tick()
        work = life.dice.choices(works, weights)[0]
        if work in NEEDING and owners.live(life) is None and life.dice.random() < 0.9:
            work = life.dice.choice(BEGINNING)
        try:
            work(life)
            if life.dice.random() < 0.5:
                life.settle()
            if number % 5 == 0 or number == steps:
                look(life)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"seed {life.seed}\n" + "\n".join(life.log)) from error
    end(life)


def look(life: Life) -> None:
    """Everything is caught up with and checked."""
    life.settle()
    # Periods close an hour after their end.
    life.turn(life.world.at + 2 * HOUR + timedelta(minutes=5))
    life.calm()
    life.note("all is looked at")
    check(life)


def end(life: Life) -> None:
    """It has ended, and nothing is left to be done for it."""
    if life.row().status == "closed":
        life.ask("post", "/reopen")
    row = owners.live(life)
    if row is not None and row.collection == "stripe":
        life.ask("post", "/subscription/cancel", {"immediately": True})
    elif row is not None:
        others.by_hand(life)
    life.live(2 * DAY, DAY)
    look(life)
