"""Three rounds of the crash test, so that it stays alive; `python -m tests.crash` plays 200."""

import pytest

from tests.crash.__main__ import play


@pytest.mark.slow
def test_what_is_served_is_counted_once_whatever_is_killed():
    assert play(kinds=["worker", "valkey", "web"], seed="1") == []
