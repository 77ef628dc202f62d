"""What a data plane outside this project has set aside of a limit."""

from django.db import models
from django.db.models import F, Q

from quotas.models.plan import RESOURCE_CHOICES


class HoldState(models.TextChoices):
    """`held` until it is settled: `committed` (used), `released` or `expired` (given back)."""

    HELD = "held"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


class HoldQuerySet(models.QuerySet["Hold"]):
    def for_org(self, org_id: int) -> "HoldQuerySet":
        return self.filter(org_id=org_id)


class Hold(models.Model):
    """An amount that counts as used from `created_at` on, unless it is given back."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    amount = models.BigIntegerField()
    state = models.CharField(max_length=9, choices=HoldState.choices, default=HoldState.HELD)
    reference = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(resource__in=["compile_jobs", "storage"]), name="quotas_hold_resource"
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="quotas_hold_positive"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="quotas_hold_forward"
            ),
            models.CheckConstraint(
                condition=Q(state="held", settled_at__isnull=True)
                | (Q(state__in=HoldState.values) & ~Q(state="held") & Q(settled_at__isnull=False)),
                name="quotas_hold_settled",
            ),
        ]
        indexes = [
            models.Index(fields=["org", "id"], name="quotas_hold_org"),
            models.Index(fields=["expires_at"], condition=Q(state="held"), name="quotas_hold_due"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.resource} {self.amount}: {self.state}"
