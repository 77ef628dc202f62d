"""What is told of tasks that ended."""

import logging

import pytest

from spoke.core.idle_log import IdleFilter

TIMETABLE = {"sweep": {"task": "orgs.tasks.sweep", "schedule": 10.0}}


@pytest.mark.parametrize(
    ("name", "returned", "level", "told"),
    [
        ("orgs.tasks.sweep", "0", logging.INFO, False),
        ("orgs.tasks.sweep", "None", logging.INFO, False),
        ("orgs.tasks.sweep", "3", logging.INFO, True),
        ("orgs.tasks.sweep", "0", logging.ERROR, True),
        ("orgs.tasks.send", "None", logging.INFO, True),
    ],
)
def test_a_periodic_task_that_did_nothing_is_not_told_of(name, returned, level, told):
    args = {"name": name, "return_value": returned}
    record = logging.LogRecord("celery.app.trace", level, "", 0, "%(name)s", (args,), None)
    assert IdleFilter(TIMETABLE).filter(record) is told


def test_at_debug_it_is():
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        args = {"name": "orgs.tasks.sweep", "return_value": "0"}
        record = logging.LogRecord("celery.app.trace", logging.INFO, "", 0, "", (args,), None)
        assert IdleFilter(TIMETABLE).filter(record)
    finally:
        root.setLevel(before)


def test_what_is_no_end_of_a_task_is_told():
    record = logging.LogRecord("celery.app.trace", logging.INFO, "", 0, "%s is up", ("it",), None)
    assert IdleFilter(TIMETABLE).filter(record)
