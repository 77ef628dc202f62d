"""Events are stored once each, whatever they come with, and each bad one is named."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection

from conftest import door
from quotas.models import EventKey, PeriodUsage, UsageBucket, UsageEvent, UsagePeriod
from quotas.services import ingestion, partitions, periods, usage
from quotas.tests.conftest import NOW
from quotas.tests.events import event, ingest
from quotas.tests.threads import at_once
from spoke.core import tenancy
from spoke.core.errors import InvalidInput

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def org_id(cast, plans):
    return cast.org.pk


def outcomes(done):
    return [(o.position, o.status, o.code) for o in done.others]


def test_an_event_is_stored_as_it_was_sent(org_id):
    sent = event(
        "queue_depth",
        "12.5",
        idempotency_key="a\tb\\c\nd\re\u2028é'\"",
        at=NOW - timedelta(days=2),
        properties={"user": 'Zoë\\\n"x"', "n": 5, "ok": True, "none": None},
    )
    for size in (0, ingestion.COPY_FROM):  # by arrays, and by COPY
        more = [event(idempotency_key=f"more-{size}-{n}") for n in range(size)]
        key = f"{size}{sent['idempotency_key']}"
        done = ingest(org_id, sent | {"idempotency_key": key}, *more)
        assert (done.accepted, done.others) == (1 + size, [])
        row = UsageEvent.objects.get(idempotency_key=key)
        assert (row.org_id, row.meter.code, row.quantity) == (
            org_id,
            "queue_depth",
            Decimal("12.5"),
        )
        assert row.timestamp == row.counted_at == NOW - timedelta(days=2)
        assert row.received_at == NOW
        assert row.properties == sent["properties"]
    assert EventKey.objects.count() == UsageEvent.objects.count() == 2 + ingestion.COPY_FROM


@pytest.mark.parametrize("size", [1, 300, 1000])
def test_a_resend_is_a_duplicate_whatever_its_other_fields(org_id, size):
    first = [event(quantity=n) for n in range(size)]
    assert ingest(org_id, *first).accepted == size
    again = [
        sent | {"meter": "queue_depth", "quantity": 7, "timestamp": NOW.isoformat()}
        for sent in first
    ]
    done = ingest(org_id, *again, event(), now=NOW + timedelta(days=30))
    assert (done.accepted, done.duplicates, done.rejected) == (1, size, 0)
    assert [o.position for o in done.others] == list(range(size))
    # By the time at which keys are forgotten, only changed timestamps would let them in.
    assert ingest(org_id, *again, now=NOW + timedelta(days=39)).rejected == size
    now = NOW + timedelta(days=39)
    changed = [sent | {"timestamp": now.isoformat()} for sent in first]
    assert ingest(org_id, *changed, now=now).duplicates == size
    assert UsageEvent.objects.count() == size + 1
    assert UsageEvent.objects.filter(meter__code="queue_depth").count() == 0


def test_resending_everything_shuffled_with_other_timestamps_changes_nothing(org_id):
    generator = random.Random(7)
    sent = [event("compile_jobs", 2) for _ in range(3000)]
    for start in range(0, 3000, 700):
        ingest(org_id, *sent[start : start + 700])
    jobs = PeriodUsage.objects.get(org_id=org_id, resource="compile_jobs").used
    assert jobs == 6000
    accepted = duplicates = 0
    for size in (1, 64, 399, 1000, 10_000):
        generator.shuffle(sent)
        for start in range(0, 3000, size * 10 if size < 64 else size):
            changed = [
                one | {"timestamp": (NOW - timedelta(hours=generator.randrange(800))).isoformat()}
                for one in sent[start : start + size]
            ]
            done = ingest(org_id, *changed)
            accepted, duplicates = accepted + done.accepted, duplicates + done.duplicates
    assert (accepted, duplicates) == (0, 4 * 3000 + 300)
    assert UsageEvent.objects.count() == EventKey.objects.count() == 3000
    assert PeriodUsage.objects.get(org_id=org_id, resource="compile_jobs").used == 6000


def test_the_same_key_is_free_in_another_organization(org_id, cast):
    one = event(idempotency_key="shared")
    assert ingest(org_id, one).accepted == 1
    assert ingest(cast.other_org.pk, one).accepted == 1
    assert UsageEvent.objects.filter(idempotency_key="shared").count() == 2


BAD = [
    (event(quantity=-1), "negative_quantity"),
    (event(quantity=Decimal("NaN")), "invalid_quantity"),
    (event(quantity="NaN"), "invalid_quantity"),
    (event(quantity=Decimal("Infinity")), "invalid_quantity"),
    (event(quantity=Decimal("1e400")), "quantity_too_large"),
    (event(quantity=10**18), "quantity_too_large"),
    (event(quantity=Decimal("0.1234567890123")), "quantity_too_precise"),
    (event(quantity=True), "invalid_quantity"),
    (event(quantity=None), "invalid_quantity"),
    (event(quantity=[1]), "invalid_quantity"),
    (event(at=NOW + timedelta(minutes=5, seconds=1)), "timestamp_in_future"),
    (event(at=NOW - timedelta(days=35, seconds=1)), "timestamp_too_old"),
    (event(timestamp="0001-01-01T00:00:00+23:59"), "timestamp_too_old"),
    (event(timestamp="9999-12-31T23:59:59-23:59"), "timestamp_in_future"),
    (event(timestamp="2026-11-23T14:00:00"), "invalid_timestamp"),
    (event(timestamp="yesterday"), "invalid_timestamp"),
    (event(timestamp=1_795_445_112), "invalid_timestamp"),
    (event("no_such_meter"), "unknown_meter"),
    (event(meter=["artifact_downloads"]), "unknown_meter"),
    (event(meter=None), "unknown_meter"),
    (event(organization="rival"), "foreign_organization"),
    (event(organization=["acme"]), "foreign_organization"),
    (event(idempotency_key=""), "invalid_idempotency_key"),
    (event(idempotency_key="k" * 256), "invalid_idempotency_key"),
    (event(idempotency_key="a\x00b"), "invalid_idempotency_key"),
    (event(idempotency_key="\ud800"), "invalid_idempotency_key"),
    (event(idempotency_key=17), "invalid_idempotency_key"),
    (event(colour="red"), "unknown_field"),
    (event("active_developers"), "missing_property"),
    (event("active_developers", properties={"user": None}), "missing_property"),
    (event("compile_jobs", 1.5), "invalid_quantity"),  # a float never comes out of the parser
    (event("compile_jobs", Decimal("1.5")), "fractional_quantity"),
    (event(properties=[]), "invalid_properties"),
    (event(properties={"a": {"b": 1}}), "invalid_properties"),
    (event(properties={"a": "\x00"}), "invalid_properties"),
    (event(properties={"a": "\ud800"}), "invalid_properties"),
    (event(properties={"": 1}), "invalid_properties"),
    (event(properties={"a": Decimal("1e400")}), "invalid_properties"),
    (event(properties={"a": 10**19}), "invalid_properties"),
    (event(properties={f"n{n}": n for n in range(33)}), "invalid_properties"),
    (event(properties={"a": "x" * 513}), "invalid_properties"),
    ("text", "invalid"),
    (None, "invalid"),
    ([], "invalid"),
    ({}, "invalid_idempotency_key"),
]


def test_bad_events_are_each_rejected_and_the_good_ones_stored(org_id):
    batch = []
    for bad, _ in BAD:
        batch += [bad, event()]
    done = ingest(org_id, *batch)
    assert outcomes(done) == [(2 * n, "rejected", code) for n, (_, code) in enumerate(BAD)]
    assert (done.accepted, done.duplicates, done.rejected) == (len(BAD), 0, len(BAD))
    assert UsageEvent.objects.count() == len(BAD)
    assert all(o.detail and len(o.detail) < 300 for o in done.others)


def test_what_is_odd_but_right_is_taken(org_id):
    good = [
        event(quantity=0),
        event(quantity=Decimal("1.000000000000000000")),
        event(quantity="0012.50"),
        event(quantity=Decimal("0E-999999")),
        event(quantity=Decimal("999999999999999999.999999999999")),
        event("cache_bytes", -5),
        event(at=NOW - timedelta(days=35)),
        event(at=NOW + timedelta(minutes=5)),
        event(timestamp="2026-11-23T23:19:59.999999+23:59:59"),
        event(organization="acme"),
        event(organization=str(org_id)),
        event(organization=org_id),
        event(properties=None),
        event(properties={}),
        event(properties={"a": "\\u0000"}),
        event(idempotency_key="k" * 255),
        event("active_developers", properties={"user": 7}),
    ]
    done = ingest(org_id, *good)
    assert (done.accepted, done.others) == (len(good), [])


def test_in_one_batch_the_first_good_event_of_a_key_counts(org_id):
    done = ingest(
        org_id,
        event(idempotency_key="k", quantity=-1),
        event(idempotency_key="k", quantity=2),
        event(idempotency_key="k", quantity=3),
    )
    assert outcomes(done) == [
        (0, "rejected", "negative_quantity"),
        (2, "duplicate", "duplicate"),
    ]
    assert UsageEvent.objects.get().quantity == 2


def test_a_batch_has_at_most_ten_thousand_events(org_id):
    with pytest.raises(InvalidInput):
        ingest(org_id, *[{}] * 10_001)
    assert ingest(org_id, *[{}] * 10_000).rejected == 10_000


def test_compile_jobs_count_at_once_towards_the_limit(org_id):
    batch = [event("compile_jobs", 3), event("compile_jobs", 4, at=NOW - timedelta(hours=2))]
    ingest(org_id, *batch, event("artifact_downloads", 9))
    ingest(org_id, *batch)
    period = periods.current_period(org_id=org_id, now=NOW)
    assert usage.usage_of_period(period=period, now=NOW)["compile_jobs"] == 7
    buckets = UsageBucket.objects.filter(org_id=org_id).order_by("hour")
    assert list(buckets.values_list("hour", "used")) == [
        (NOW.replace(hour=12, minute=0), 4),
        (NOW.replace(minute=0), 3),
    ]


def test_late_events_count_in_their_period_until_it_is_closed(org_id):
    november = periods.current_period(org_id=org_id, now=NOW)
    late = DECEMBER + timedelta(minutes=10)
    ingest(org_id, event("compile_jobs", 1, at=NOW), now=late)
    usage.close_period(period_id=november.pk, org_id=org_id, now=DECEMBER + usage.CLOSE_GRACE)
    later = DECEMBER + timedelta(days=3)
    ingest(org_id, event("compile_jobs", 10, at=NOW), now=later)
    used = {
        row.period.start: row.used for row in PeriodUsage.objects.filter(resource="compile_jobs")
    }
    assert used == {november.start: 1, DECEMBER: 10}
    rows = UsageEvent.objects.order_by("id").values_list("timestamp", "counted_at")
    assert list(rows) == [(NOW, NOW), (NOW, later)]


def test_events_of_a_month_that_never_had_a_period_count_now_once_its_grace_is_over(org_id):
    ingest(org_id, event("compile_jobs", 1, at=NOW), now=DECEMBER + timedelta(minutes=14))
    ingest(org_id, event("compile_jobs", 1, at=NOW - timedelta(days=23)), now=NOW)
    rows = UsageEvent.objects.order_by("id").values_list("counted_at", flat=True)
    assert list(rows) == [NOW, NOW]
    starts = UsagePeriod.objects.order_by("start").values_list("start", flat=True)
    assert [start.month for start in starts] == [11, 12]


def test_an_event_just_ahead_opens_the_next_period(org_id):
    now = DECEMBER - timedelta(minutes=1)
    ingest(org_id, event("compile_jobs", 1, at=DECEMBER), now=now)
    assert PeriodUsage.objects.get().period.start == DECEMBER


def test_a_missing_partition_is_made(org_id):
    far = datetime(2031, 5, 6, tzinfo=UTC)
    assert ingest(org_id, event(at=far), now=far).accepted == 1
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partitions.partition_of(far)}")
        assert cursor.fetchone() == (1,)


def test_nothing_is_visible_to_another_organization_by_table_or_partition(org_id, cast):
    ingest(org_id, event())
    names = ("quotas_usageevent", partitions.partition_of(NOW), "quotas_eventkey")
    for org, seen in ((org_id, 1), (cast.other_org.pk, 0)):
        with tenancy.scoped(tenancy.NOBODY), tenancy.organization(org):
            for name in names:
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT count(*) FROM {name}")
                    assert cursor.fetchone() == (seen,), name


def test_eight_threads_with_the_same_keys_store_each_once(committed_cast):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    sent = [event("compile_jobs", 1) for _ in range(1200)]

    def work(number: int) -> int:
        mine = list(sent)
        random.Random(number).shuffle(mine)
        sizes = (300, 600)[number % 2]
        return sum(
            ingest(org_id, *mine[start : start + sizes]).accepted for start in range(0, 1200, sizes)
        )

    accepted, errors = at_once(8, work)
    assert errors == []
    assert sum(accepted) == 1200
    with door():
        assert UsageEvent.objects.count() == EventKey.objects.count() == 1200
        assert PeriodUsage.objects.get(resource="compile_jobs").used == 1200


def test_a_batch_that_is_rolled_back_leaves_nothing_and_can_be_sent_again(committed_cast):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    sent = [event("compile_jobs", 1) for _ in range(500)]

    def ingest_and_fail() -> None:
        with tenancy.organization(org_id):
            ingestion.ingest_events(org_id=org_id, events=sent, now=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ingest_and_fail()
    with door():
        assert (UsageEvent.objects.count(), EventKey.objects.count()) == (0, 0)
        assert PeriodUsage.objects.count() == 0
    assert ingest(org_id, *sent).accepted == 500


def test_an_events_json_survives_copy(org_id):
    sent = [
        event(properties={"t": json.dumps({"x": f"\\{n}\t\n\u2029"})})
        for n in range(ingestion.COPY_FROM)
    ]
    ingest(org_id, *sent)
    rows = dict(UsageEvent.objects.values_list("idempotency_key", "properties"))
    assert rows == {one["idempotency_key"]: one["properties"] for one in sent}
