"""The hourly limit is exact in any 60 minutes, whatever arrives when. Against a real Valkey."""

import itertools
from bisect import bisect_right
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from quotas.services import rate_limit, valkey
from quotas.services.rate_limit import Verdict, hit_organization, hit_user, requests_of_hour
from quotas.tests.conftest import NOW
from quotas.tests.threads import at_once

MINUTE, WINDOW = 60_000_000, 3_600_000_000
START = int(NOW.timestamp()) * 1_000_000
fresh_org = itertools.count(1_000)
# Gaps in microseconds that bring out what is wrong at the edges of minutes and of the window.
EDGES = [0, 1, MINUTE - 1, MINUTE, MINUTE + 1, WINDOW - MINUTE, WINDOW - 1, WINDOW, WINDOW + 1]
gaps = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 2 * MINUTE), st.integers(0, 2 * WINDOW), st.just(0)
)
against_valkey = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def at(microseconds: int) -> datetime:
    return NOW + timedelta(microseconds=microseconds - START)


class ExactLimiter:
    """The reference: the time of every accepted request."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    def within(self, now: int, span: int = WINDOW) -> int:
        """How many were accepted in (now - span, now]."""
        return bisect_right(self.accepted, now) - bisect_right(self.accepted, now - span)


def check_arrivals(limit: int, arrivals: list[int]) -> ExactLimiter:
    """Sends the arrivals and holds every verdict against the reference."""
    org_id, exact = next(fresh_org), ExactLimiter()
    for now in arrivals:
        verdict = hit_organization(org_id=org_id, limit=limit, now=at(now))
        if verdict.allowed:
            exact.accepted.append(now)
            assert exact.within(now) <= limit
            assert verdict.remaining is not None
            assert verdict.remaining <= limit - exact.within(now)
        else:
            # Refused only for what is at most a minute older than the window.
            assert exact.within(now, WINDOW + MINUTE) >= limit
            assert verdict.remaining == 0
        assert 1 <= verdict.reset <= WINDOW // 1_000_000
    return exact


@against_valkey
@given(limit=st.integers(0, 12), steps=st.lists(gaps, max_size=60), offset=st.integers(0, MINUTE))
@example(limit=5, steps=[30 * 1_000_000] * 5 + [0] * 5 + [WINDOW - MINUTE] + [0] * 6, offset=0)
def test_never_more_than_the_limit_in_any_hour(limit, steps, offset):
    check_arrivals(limit, [START + offset + now for now in itertools.accumulate(steps)])


@against_valkey
@given(
    limit=st.integers(2, 40),
    bursts=st.lists(st.tuples(gaps, st.integers(1, 50)), min_size=1, max_size=6),
)
def test_never_more_than_the_limit_in_bursts(limit, bursts):
    now, arrivals = START, []
    for gap, size in bursts:
        now += gap
        arrivals += [now + index for index in range(size)]
        now += size
    check_arrivals(limit, arrivals)


def test_the_attack_on_sixty_buckets_gets_the_limit_and_no_more():
    """Half of the oldest minute lies in the window: with 60 minutes counted it would be free."""
    late, early = 45 * 1_000_000, 15 * 1_000_000
    first = [START + late + index for index in range(10)]
    second = [START + WINDOW + early + index for index in range(10)]
    assert len(check_arrivals(10, first + second).accepted) == 10


def test_what_is_an_hour_old_counts_no_longer():
    org_id = next(fresh_org)
    assert hit_organization(org_id=org_id, limit=1, now=at(START)).allowed
    assert not hit_organization(org_id=org_id, limit=1, now=at(START + WINDOW - 1)).allowed
    assert hit_organization(org_id=org_id, limit=1, now=at(START + WINDOW)).allowed


@pytest.mark.parametrize("limit", [1, 7, 48, 60, 61, 97, 600])
def test_who_is_steadily_at_the_limit_gets_98_percent_of_it(limit):
    hours = 4 if limit > 100 else 12
    arrivals = [START + (WINDOW * index) // limit for index in range(limit * hours)]
    accepted = len(check_arrivals(limit, arrivals).accepted)
    assert accepted >= 0.98 * len(arrivals)


@against_valkey
@given(
    limit=st.integers(1, 8),
    moves=st.lists(
        st.one_of(gaps, st.integers(-2 * WINDOW, -1), st.integers(-2 * MINUTE, -1)), max_size=40
    ),
)
def test_a_clock_that_goes_back_lets_nobody_pass_the_limit_and_locks_nobody_out(limit, moves):
    org_id, wall, real = next(fresh_org), START, 0
    accepted: list[int] = []  # in time that really passes: only moves forward count
    for move in moves:
        wall, real = wall + move, real + max(move, 0)
        if hit_organization(org_id=org_id, limit=limit, now=at(wall)).allowed:
            accepted.append(real)
    exact = ExactLimiter()
    exact.accepted = accepted
    assert all(exact.within(now) <= limit for now in accepted)
    # After two quiet hours on the clock as it is now, it works again.
    assert hit_organization(org_id=org_id, limit=limit, now=at(wall + 2 * WINDOW)).allowed


def test_a_clock_that_goes_back_a_little_stands_still_until_it_has_caught_up():
    org_id = next(fresh_org)
    for now in (START, START - 3 * MINUTE, START + MINUTE):
        assert hit_organization(org_id=org_id, limit=3, now=at(now)).allowed
    assert not hit_organization(org_id=org_id, limit=3, now=at(START - 2 * MINUTE)).allowed
    seen = [
        requests_of_hour(org_id=org_id, now=at(START + now))
        for now in (MINUTE, WINDOW - 1, WINDOW, WINDOW + MINUTE - 1, WINDOW + MINUTE)
    ]
    assert seen == [3, 3, 1, 1, 0]


def test_while_the_clock_stands_still_the_state_lives_longer(redis):
    org_id = next(fresh_org)
    hit_organization(org_id=org_id, limit=3, now=at(START))
    hit_organization(org_id=org_id, limit=3, now=at(START - 30 * MINUTE))
    assert 5_400_000 < redis.pttl(valkey.organization_key(org_id)) <= 5_401_000


def test_a_clock_that_goes_back_by_hours_keeps_what_is_counted_for_an_hour():
    org_id, back = next(fresh_org), START - 5 * WINDOW
    for _ in range(2):
        assert hit_organization(org_id=org_id, limit=2, now=at(START)).allowed
    assert not hit_organization(org_id=org_id, limit=2, now=at(back)).allowed
    assert not hit_organization(org_id=org_id, limit=2, now=at(back + WINDOW - 1)).allowed
    assert hit_organization(org_id=org_id, limit=2, now=at(back + WINDOW)).allowed


def test_a_verdict_says_what_remains_and_when_more_comes():
    org_id = next(fresh_org)
    assert hit_organization(org_id=org_id, limit=2, now=at(START)) == Verdict(True, 2, 1, 3600, 1)
    ten_minutes = 10 * MINUTE
    found = hit_organization(org_id=org_id, limit=2, now=at(START + ten_minutes))
    assert found == Verdict(True, 2, 0, 3000, 2)
    refused = hit_organization(org_id=org_id, limit=2, now=at(START + 2 * ten_minutes))
    assert refused == Verdict(False, 2, 0, 2400, 2)
    # Of a limit that was lowered, both have to go first.
    lowered = hit_organization(org_id=org_id, limit=1, now=at(START + 2 * ten_minutes))
    assert lowered == Verdict(False, 1, 0, 3000, 2)
    nothing = hit_organization(org_id=org_id, limit=0, now=at(START + 2 * ten_minutes))
    assert nothing == Verdict(False, 0, 0, 3600, 2)
    unlimited = hit_organization(org_id=org_id, limit=None, now=at(START + 2 * ten_minutes))
    assert unlimited == Verdict(True, None, None, 2400, 3)
    assert requests_of_hour(org_id=org_id, now=at(START + 2 * ten_minutes)) == 3
    assert requests_of_hour(org_id=org_id, now=at(START + WINDOW)) == 2


def test_a_minute_leaves_with_its_last_request():
    org_id = next(fresh_org)
    hit_organization(org_id=org_id, limit=3, now=at(START))
    found = hit_organization(org_id=org_id, limit=3, now=at(START + MINUTE // 2))
    assert found == Verdict(True, 3, 1, 3600, 2)
    later = hit_organization(org_id=org_id, limit=3, now=at(START + MINUTE))
    assert later == Verdict(True, 3, 0, 3570, 3)
    assert requests_of_hour(org_id=org_id, now=at(START + WINDOW + MINUTE // 2 - 1)) == 3
    assert requests_of_hour(org_id=org_id, now=at(START + WINDOW + MINUTE // 2)) == 1


@against_valkey
@given(limit=st.integers(1, 5), steps=st.lists(gaps, min_size=8, max_size=30))
def test_waiting_as_long_as_told_is_enough(limit, steps):
    org_id, now = next(fresh_org), START
    refused = None
    for step in steps:
        now += step
        verdict = hit_organization(org_id=org_id, limit=limit, now=at(now))
        refused = None if verdict.allowed else verdict
    assume(refused is not None)
    later = at(now + refused.reset * 1_000_000)
    assert hit_organization(org_id=org_id, limit=limit, now=later).allowed


def test_served_requests_are_counted_as_usage_and_refused_ones_are_not(redis):
    org_id = next(fresh_org)
    for _ in range(5):
        hit_organization(org_id=org_id, limit=3, now=NOW)
    hit_organization(org_id=org_id, limit=None, now=NOW + timedelta(hours=1))
    hour = int(NOW.timestamp()) // 3600 * 3600
    counts = redis.hgetall(f"spoke:{{{org_id % 64}}}:requests")
    assert counts.pop(b"generation")
    assert counts == {
        f"{org_id}:{hour}".encode(): b"3",
        f"{org_id}:{hour + 3600}".encode(): b"1",
    }
    assert requests_of_hour(org_id=org_id, now=NOW) is not None
    assert redis.hget(f"spoke:{{{org_id % 64}}}:requests", f"{org_id}:{hour}") == b"3"


def test_a_person_has_a_limit_apart_that_is_nobodys_usage(redis):
    hit_organization(org_id=70, limit=1, now=NOW)
    assert hit_user(user_id=70, limit=1, now=NOW).allowed
    assert not hit_user(user_id=70, limit=1, now=NOW).allowed
    assert redis.hlen("spoke:{6}:requests") == 2  # one count and the generation's name
    assert sorted(redis.keys("spoke:*limit*")) == [
        b"spoke:{6}:limit:70",
        b"spoke:{6}:limit:user:70",
    ]


def test_the_servers_clock_is_used_and_the_key_expires_with_its_last_request(redis):
    org_id = next(fresh_org)
    verdict = hit_organization(org_id=org_id, limit=10)
    assert verdict == Verdict(True, 10, 9, 3600, 1)
    assert 3_600_000 < redis.pttl(valkey.organization_key(org_id)) <= 3_601_000


def test_a_busy_organization_takes_less_than_a_kibibyte(redis):
    org_id = next(fresh_org)
    for minute in range(130):
        for _ in range(3):
            hit_organization(org_id=org_id, limit=10**6, now=at(START + minute * MINUTE))
    state = redis.memory_usage(valkey.organization_key(org_id))
    counts = redis.memory_usage(valkey.requests_key(valkey.shard_of(org_id)))
    assert state + counts <= 1024


def test_many_at_once_get_exactly_the_limit():
    org_id = next(fresh_org)

    def work(_: int) -> int:
        return sum(hit_organization(org_id=org_id, limit=50).allowed for _ in range(20))

    allowed, errors = at_once(8, work)
    assert errors == []
    assert sum(allowed) == 50


def test_a_server_that_forgot_the_script_is_told_it_again(redis):
    org_id = next(fresh_org)
    hit_organization(org_id=org_id, limit=5, now=NOW)
    redis.script_flush()
    assert hit_organization(org_id=org_id, limit=5, now=NOW).remaining == 3
    assert not rate_limit.outage.breaker.is_open


@pytest.mark.parametrize("limit", [2**53, 2**63 - 1])
def test_a_limit_beyond_what_lua_can_count_is_as_good_as_none(limit):
    org_id = next(fresh_org)
    verdict = hit_organization(org_id=org_id, limit=limit, now=NOW)
    assert (verdict.allowed, verdict.limit) == (True, limit)
    assert verdict.remaining == 2**53 - 2
