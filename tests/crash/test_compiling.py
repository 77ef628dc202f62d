"""A small one, so that it stays alive; `python -m tests.crash.compiling` has 200 jobs and 8 workers."""

import pytest

from tests.crash.compiling import play


@pytest.mark.slow
def test_every_job_ends_once_and_is_counted_as_it_ended_whatever_is_killed():
    assert play(jobs=24, workers=4, kills=6, seed="1") == []
