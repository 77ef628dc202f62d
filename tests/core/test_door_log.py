"""The door's log: each use by a person, and the timetable's in sum."""

from structlog.testing import capture_logs

from spoke.core import door_log, tenancy
from spoke.core.door_log import EVERY_SECONDS, Uses


def test_a_reason_is_logged_at_first_and_then_in_sum():
    uses = Uses()
    assert [uses.count("flush", float(at)) for at in (0, 10, 20, EVERY_SECONDS - 1)] == [1, 0, 0, 0]
    assert uses.count("sweep", 30.0) == 1
    assert uses.count("flush", EVERY_SECONDS) == 4
    assert uses.count("flush", EVERY_SECONDS + 10) == 0
    assert uses.count("flush", 3 * EVERY_SECONDS) == 2


def levels(lines):
    return [(line["log_level"], line["reason"], line.get("uses")) for line in lines]


def test_people_are_logged_each_time(db, monkeypatch):
    monkeypatch.setattr(door_log, "_uses", Uses())
    with capture_logs() as lines:
        for _ in range(3):
            with tenancy.all_organizations(reason="staff reads", actor="user:7"):
                pass
    assert levels(lines) == [("info", "staff reads", None)] * 3


def test_the_timetable_is_logged_once_and_counted(db, monkeypatch):
    monkeypatch.setattr(door_log, "_uses", Uses())
    clock = iter([0.0, 10.0, EVERY_SECONDS])
    monkeypatch.setattr(door_log, "monotonic", lambda: next(clock))
    with capture_logs() as lines:
        for _ in range(3):
            door_log.log_opening(reason="flush", actor="system")
    assert levels(lines) == [
        ("info", "flush", None),
        ("debug", "flush", None),
        ("info", "flush", 2),
    ]
