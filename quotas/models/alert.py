"""Alerts of usage: which thresholds an organization has, and which of them were reached."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from quotas.resources import Resource

# What a budget caps; it has no limit of a plan.
OVERAGE = "overage"
ALERTED = [*(resource.value for resource in Resource), OVERAGE]
ALERTED_CHOICES = [(name, name) for name in ALERTED]
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 1, 1000


class AlertSettings(models.Model):
    """An organization's own thresholds in percent, `{"modules": [50, 80, 100]}`.

    What is not named has the default ones; an empty list is none at all.
    """

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="alert_settings")
    thresholds = models.JSONField(default=dict, blank=True)
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "alert settings"

    def __str__(self) -> str:
        return f"alerts of {self.org_id}"


class Alert(models.Model):
    """A threshold that was reached in a period. The unique key makes it fire once."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    # The unique key below leads to it.
    period = models.ForeignKey(
        "quotas.UsagePeriod", models.CASCADE, related_name="+", db_index=False
    )
    resource = models.CharField(max_length=16, choices=ALERTED_CHOICES)
    threshold = models.PositiveSmallIntegerField()
    fired_at = models.DateTimeField()
    # As they were then.
    used = models.BigIntegerField()
    limit = models.BigIntegerField()
    # Whether it has a message of its own: of several that fire at once the highest has.
    notify = models.BooleanField(default=False)
    # The message: who sends it at the moment, who has it by now (ids of users), when all had it.
    claimed_at = models.DateTimeField(null=True, blank=True)
    told = ArrayField(models.BigIntegerField(), default=list, blank=True)
    notified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["period", "resource", "threshold"], name="quotas_alert_once"
            ),
            models.CheckConstraint(condition=Q(resource__in=ALERTED), name="quotas_alert_resource"),
            models.CheckConstraint(
                condition=Q(threshold__gte=LOWEST_THRESHOLD, threshold__lte=HIGHEST_THRESHOLD),
                name="quotas_alert_threshold",
            ),
            models.CheckConstraint(
                condition=Q(used__gte=0, limit__gte=0), name="quotas_alert_positive"
            ),
        ]
        indexes = [
            models.Index(
                fields=["fired_at"],
                condition=Q(notify=True, notified_at__isnull=True),
                name="quotas_alert_unsent",
            )
        ]

    def __str__(self) -> str:
        return f"period {self.period_id} {self.resource}: {self.threshold}%"


class AlertOptOut(models.Model):
    """Somebody who wants no mail of an organization's alerts."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey("orgs.User", models.CASCADE, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "user"], name="quotas_alertoptout_unique")
        ]

    def __str__(self) -> str:
        return f"user {self.user_id} in {self.org_id}"
