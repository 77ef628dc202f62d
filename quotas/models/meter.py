"""Meters, the events they count, and the buckets that the events are rolled up into."""

from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Func, Q

from quotas.metering import Aggregation
from quotas.models.plan import RESOURCE_CHOICES

AGGREGATION_CHOICES = [(aggregation.value, aggregation.value) for aggregation in Aggregation]
SPAN_CHOICES = [("hour", "hour"), ("day", "day")]


def _quantity(**kwargs: Any) -> Any:
    return models.DecimalField(max_digits=30, decimal_places=12, **kwargs)


class TransactionIdField(models.Field):  # type: ignore[type-arg]  # not subscriptable at run time
    """PostgreSQL's 64-bit transaction id, which never wraps. Read as text."""

    def db_type(self, connection: Any) -> str:
        return "xid8"


class CurrentTransactionId(Func):
    """The id of the transaction under way."""

    function = "pg_current_xact_id"
    output_field = TransactionIdField()


class Meter(models.Model):
    """Something that is measured by events. Made from the file of meters, by `seed_plans`."""

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    aggregation = models.CharField(max_length=24, choices=AGGREGATION_CHOICES)
    unit = models.CharField(max_length=32)
    # Distinct values of this property of the events are counted; with aggregation `unique` only.
    unique_property = models.CharField(max_length=64, null=True, blank=True)
    allows_decrease = models.BooleanField(default=False)
    # A sum that is limited by plans: its events count in the period like any other use of it.
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES, null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(aggregation="unique", unique_property__isnull=False)
                | (~Q(aggregation="unique") & Q(unique_property__isnull=True)),
                name="quotas_meter_unique_property",
            ),
            models.CheckConstraint(
                condition=Q(resource__isnull=True) | Q(aggregation="sum", allows_decrease=False),
                name="quotas_meter_resource_is_sum",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class UsageEvent(models.Model):
    """One event as it was received. The table is partitioned by the month of receipt (0003).

    The database's own primary key is (org_id, meter_id, counted_at, id, received_at); `id` is the
    order of receipt. No foreign key is checked row by row: ingestion holds the organization instead.
    """

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(
        "orgs.Organization",
        models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    meter = models.ForeignKey(
        Meter, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    idempotency_key = models.CharField(max_length=255)
    quantity = _quantity()
    # The event's own time, and the time at which it counts: the time of receipt where the period of
    # its own time was closed already.
    timestamp = models.DateTimeField()
    counted_at = models.DateTimeField()
    received_at = models.DateTimeField()
    properties = models.JSONField(null=True)
    # Of the transaction that stored it: what is new since a rollup is known by it.
    xid = TransactionIdField(db_default=CurrentTransactionId())

    def __str__(self) -> str:
        return self.idempotency_key


class EventKey(models.Model):
    """An idempotency key that was used, by its digest; outlives every time at which it may return.

    The database's own primary key is (org_id, digest).
    """

    digest = models.UUIDField(primary_key=True)
    org = models.ForeignKey(
        "orgs.Organization",
        models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    received_at = models.DateTimeField()

    class Meta:
        indexes = [BrinIndex(fields=["received_at"], name="quotas_eventkey_received")]

    def __str__(self) -> str:
        return str(self.digest)


class MeterBucket(models.Model):
    """What an hour or a day saw of a meter, in a form that can be added to."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="+", db_index=False)
    span = models.CharField(max_length=4, choices=SPAN_CHOICES)
    start = models.DateTimeField()
    events = models.BigIntegerField()
    total = models.DecimalField(max_digits=60, decimal_places=12)
    maximum = _quantity()
    # The sum of quantity times time in seconds since 1970. With `total` it gives the time-weighted
    # integral up to any later time: total times that time, less the moment.
    moment = models.DecimalField(max_digits=80, decimal_places=18)
    # The quantity of the last event by its own time, ties broken by receipt; of such meters only.
    latest = _quantity(null=True)
    latest_at = models.DateTimeField(null=True)
    latest_id = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "meter", "span", "start"], name="quotas_meterbucket_unique"
            ),
            models.CheckConstraint(condition=Q(events__gt=0), name="quotas_meterbucket_events"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.meter_id} {self.span} {self.start:%Y-%m-%dT%H}: {self.events}"


class MeterDistinct(models.Model):
    """A value that a meter of unique values saw in an hour, by its digest."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="+", db_index=False)
    start = models.DateTimeField()
    digest = models.UUIDField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "meter", "start", "digest"], name="quotas_meterdistinct_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.meter_id} {self.start:%Y-%m-%dT%H} {self.digest}"


class RollupState(models.Model):
    """How far the buckets have come: they hold every event of a transaction before `horizon`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    horizon = TransactionIdField()
    # Events that count earlier are partly deleted by retention; null: none was ever deleted.
    complete_since = models.DateTimeField(null=True)
    rolled_up_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="quotas_rollupstate_one"),
        ]

    def __str__(self) -> str:
        return f"up to transaction {self.horizon}"
