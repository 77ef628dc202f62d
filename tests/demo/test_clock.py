"""The clock that development turns."""

from datetime import UTC, datetime, timedelta

from spoke.demo.clock import Clock

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


def test_all_who_read_the_file_are_there_at_once(tmp_path):
    one, other = (Clock(tmp_path / "clock", lambda: NOW) for _ in range(2))
    assert (one.now(), other.now()) == (NOW, NOW)
    for day in (1, 2, 3):
        one.turn(86_400)
        assert one.now() == other.now() == NOW + timedelta(days=day)


def test_a_clock_that_was_set_back_shows_the_real_time(tmp_path):
    clock = Clock(tmp_path / "clock", lambda: NOW)
    clock.turn(60)
    assert clock.now() == NOW + timedelta(minutes=1)
    (tmp_path / "clock").unlink()
    assert clock.now() == NOW
