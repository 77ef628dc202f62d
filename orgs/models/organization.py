"""Organizations, the tenants."""

from django.db import models
from django.db.models import Q


class OrganizationStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Organization(models.Model):
    """A tenant. `name` is its slug, unique and immutable; `plan_tier` follows the assigned plan."""

    name = models.CharField(max_length=63, unique=True)
    display_name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=2000)
    owner = models.ForeignKey("orgs.User", models.PROTECT, related_name="owned_organizations")
    plan_tier = models.CharField(max_length=32, default="free")
    # The paid tier asked for at creation, until its subscription is completed.
    pending_plan_tier = models.CharField(max_length=32, blank=True)
    status = models.CharField(
        max_length=16, choices=OrganizationStatus, default=OrganizationStatus.ACTIVE
    )
    status_reason = models.CharField(max_length=500, blank=True)
    # Why staff have suspended it, until they lift that: closing and reopening is no way around it.
    staff_hold = models.CharField(max_length=500, blank=True, default="", db_default="")
    settings = models.JSONField(default=dict, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    purge_after = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
                name="orgs_organization_name_slug",
            ),
            models.CheckConstraint(
                condition=Q(status__in=OrganizationStatus.values),
                name="orgs_organization_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status=OrganizationStatus.CLOSED, closed_at__isnull=False)
                | (~Q(status=OrganizationStatus.CLOSED) & Q(closed_at__isnull=True)),
                name="orgs_organization_closed_at",
            ),
        ]
        indexes = [
            models.Index(
                fields=["purge_after"],
                condition=Q(status=OrganizationStatus.CLOSED),
                name="orgs_organization_purge",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def email(self) -> str:
        """Where Spoke writes to about this organization: its owner's address."""
        return self.owner.email


class RetiredName(models.Model):
    """A name that a purged organization had. Nobody else gets it: references to it would mean theirs."""

    name = models.CharField(max_length=63, unique=True)
    retired_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
