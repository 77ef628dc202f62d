"""In which order credits are used, and how much of each."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing.credit_order import Available, used_of

T = datetime(2026, 3, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def credit(name, remaining=100, priority=100, expires=None, age=0):
    return Available(name, remaining, priority, expires and T + expires * DAY, T - age * DAY)


def test_priority_then_expiry_then_age():
    rows = [
        credit(1),
        credit(2, age=1),
        credit(3, expires=9),
        credit(4, expires=2),
        credit(5, priority=1),
    ]
    assert [row.id for row, _ in used_of(rows, 500)] == [5, 4, 3, 2, 1]


def test_the_last_is_used_in_part_and_nothing_beyond():
    rows = [credit(1), credit(2, age=1), credit(3, age=2)]
    assert [(row.id, used) for row, used in used_of(rows, 150)] == [(3, 100), (2, 50)]
    assert used_of(rows, 0) == []
    assert used_of(rows, -5) == []


available = st.builds(
    Available,
    id=st.integers(1, 10**6),
    remaining=st.integers(0, 10**9),
    priority=st.integers(0, 5),
    expires_at=st.none() | st.integers(1, 5).map(lambda days: T + days * DAY),
    created_at=st.integers(0, 5).map(lambda days: T - days * DAY),
)


@given(st.lists(available, max_size=12, unique_by=lambda row: row.id), st.integers(0, 10**10))
def test_nothing_is_lost_and_nothing_made(rows, amount):
    used = used_of(rows, amount)
    assert sum(taken for _, taken in used) == min(amount, sum(row.remaining for row in rows))
    assert all(0 < taken <= row.remaining for row, taken in used)
    # All but the last are used up, and who comes before is never spared for who comes after.
    assert all(taken == row.remaining for row, taken in used[:-1])
    assert used_of(list(reversed(rows)), amount) == used
