"""Usage: gauges, meters by period, and hourly buckets for plots."""

from datetime import datetime

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from quotas.models.plan import RESOURCE_CHOICES


class UsageGauge(models.Model):
    """The level of a gauge. `subject` 0 is the organization; for versions it is the module's id.

    `integral` is the sum of level times seconds up to `changed_at`, kept for the organization's level.
    `changed_at` never goes back: clocks of two processes may differ, and then the later change counts
    from the earlier one's time.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    subject = models.BigIntegerField(default=0)
    used = models.BigIntegerField()
    integral = models.DecimalField(max_digits=60, decimal_places=6, db_default=0)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "resource", "subject"], name="quotas_usagegauge_unique"
            ),
            models.CheckConstraint(condition=Q(used__gte=0), name="quotas_usagegauge_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.resource}/{self.subject}: {self.used}"


class GaugeChange(models.Model):
    """What an organization's gauge became at a time, and its integral up to then.

    The level and the integral at any other time follow from the last change before it.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    at = models.DateTimeField()
    used = models.BigIntegerField()
    integral = models.DecimalField(max_digits=60, decimal_places=6)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "resource", "at"], name="quotas_gaugechange_unique"
            ),
            models.CheckConstraint(condition=Q(used__gte=0), name="quotas_gaugechange_positive"),
        ]
        # By time alone: who changed lately, and what is past retention.
        indexes = [BrinIndex(fields=["at"], name="quotas_gaugechange_at")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.resource} {self.at:%Y-%m-%dT%H:%M:%S}: {self.used}"


class UsagePeriodQuerySet(models.QuerySet["UsagePeriod"]):
    def for_org(self, org_id: int) -> "UsagePeriodQuerySet":
        return self.filter(org_id=org_id)

    def due(self, now: datetime) -> "UsagePeriodQuerySet":
        """Open periods that have ended."""
        return self.filter(closed_at__isnull=True, end__lte=now)


class UsagePeriod(models.Model):
    """A stored, half-open stretch of time, [start, end) in UTC, over which meters count."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="usage_periods")
    start = models.DateTimeField()
    end = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = UsagePeriodQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "start"], name="quotas_usageperiod_unique"),
            models.CheckConstraint(
                condition=Q(end__gt=F("start")), name="quotas_usageperiod_forward"
            ),
        ]
        indexes = [
            models.Index(
                fields=["end"], condition=Q(closed_at__isnull=True), name="quotas_usageperiod_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"


class PeriodUsage(models.Model):
    """What a period saw of a resource: meters as they count, gauges as they stood at its end.

    Of a gauge also `integral`, level times seconds over the period: over the period's length it is
    the time-weighted average.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    period = models.ForeignKey(UsagePeriod, models.CASCADE, related_name="usage")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    used = models.BigIntegerField()
    integral = models.DecimalField(max_digits=60, decimal_places=6, null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["period", "resource"], name="quotas_periodusage_unique"
            ),
            models.CheckConstraint(condition=Q(used__gte=0), name="quotas_periodusage_positive"),
        ]

    def __str__(self) -> str:
        return f"period {self.period_id} {self.resource}: {self.used}"


class UsageBucket(models.Model):
    """One hour's sum of a meter. Gauges have their changes."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    hour = models.DateTimeField()
    used = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "resource", "hour"], name="quotas_usagebucket_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.resource} {self.hour:%Y-%m-%dT%H}: {self.used}"


class FlushedGeneration(models.Model):
    """A batch of counted requests already written; its unique id keeps a repeat from counting twice."""

    generation = models.CharField(max_length=64, unique=True)
    flushed_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.generation
