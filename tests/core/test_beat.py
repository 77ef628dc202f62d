"""Whatever number of beats runs, an entry is sent once for its time."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from celery.beat import PersistentScheduler, ScheduleEntry
from celery.schedules import crontab, schedule
from django.conf import settings
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from spoke import beat
from spoke.celery import app
from spoke.core import valkey

NOW = datetime(2026, 11, 23, 14, 20, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_claims():
    client = Redis.from_url(settings.REDIS_URL)
    for key in client.scan_iter("spoke:beat:*"):
        client.delete(key)


@pytest.fixture
def sent(monkeypatch):
    found = []
    monkeypatch.setattr(
        PersistentScheduler, "apply_async", lambda self, entry, **_: found.append(entry.name)
    )
    return found


def a_beat(folder, name):
    return beat.OnceScheduler(app, schedule_filename=str(folder / name))


def entry(every):
    return ScheduleEntry(name="work", task="t", schedule=every, app=app)


@pytest.mark.parametrize(
    ("every", "length"), [(schedule(timedelta(seconds=10)), 10), (crontab(minute="*/5"), 60)]
)
def test_two_beats_send_once_for_each_slot(tmp_path, sent, every, length):
    beats = [a_beat(tmp_path, name) for name in ("a", "b")]
    with time_machine.travel(NOW, tick=False) as clock:
        for step in (1, 2, 3):
            for one in beats:
                one.apply_async(entry(every), advance=False)
            assert sent == ["work"] * step
            clock.shift(length)


def test_it_is_the_scheduler_that_celery_uses():
    assert app.conf.beat_scheduler == "spoke.beat:OnceScheduler"


@pytest.mark.django_db
def test_every_entry_of_the_timetable_names_a_task_and_has_a_slot():
    app.loader.import_default_modules()
    for name, row in app.conf.beat_schedule.items():
        assert row["task"] in app.tasks
        found = ScheduleEntry(name=name, **row, app=app)
        assert beat.slot_of(found, NOW.timestamp())[1] >= 10


def test_without_valkey_it_is_sent(monkeypatch, tmp_path, sent):
    def away():
        raise NoConnection

    monkeypatch.setattr(valkey, "task_client", away)
    a_beat(tmp_path, "a").apply_async(entry(crontab()), advance=False)
    assert sent == ["work"]
