"""Invitations: hashed, expiring, used once."""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from orgs.models.member import ROLE_CHOICES


class InvitationStatus(models.TextChoices):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def for_org(self, org_id: int) -> "InvitationQuerySet":
        return self.filter(org_id=org_id).select_related("invited_by")

    def pending(self) -> "InvitationQuerySet":
        return self.filter(status=InvitationStatus.PENDING)

    def due(self, now: datetime) -> "InvitationQuerySet":
        return self.pending().filter(expires_at__lte=now)

    def in_status(self, status: str, now: datetime) -> "InvitationQuerySet":
        """Those that `status_at(now)` says this of."""
        if status == InvitationStatus.PENDING:
            return self.pending().filter(expires_at__gt=now)
        overdue = Q(status=InvitationStatus.PENDING, expires_at__lte=now)
        if status == InvitationStatus.EXPIRED:
            return self.filter(Q(status=InvitationStatus.EXPIRED) | overdue)
        return self.filter(status=status)


class Invitation(models.Model):
    """An address asked to join. Only the SHA-256 digest of its token is kept."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=ROLE_CHOICES)
    digest = models.CharField(max_length=64, unique=True)
    status = models.CharField(
        max_length=16, choices=InvitationStatus, default=InvitationStatus.PENDING
    )
    invited_by = models.ForeignKey("orgs.User", models.SET_NULL, null=True, related_name="+")
    accepted_by = models.ForeignKey(
        "orgs.User", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "org",
                Lower("email"),
                condition=Q(status=InvitationStatus.PENDING),
                name="orgs_invitation_one_pending",
            ),
            models.CheckConstraint(
                condition=Q(status__in=InvitationStatus.values),
                name="orgs_invitation_status_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(status=InvitationStatus.PENDING),
                name="orgs_invitation_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.org_id} ({self.status})"

    def status_at(self, now: datetime) -> InvitationStatus:
        """The status that counts: an overdue invitation is expired before the sweep has marked it."""
        if self.status == InvitationStatus.PENDING and self.expires_at <= now:
            return InvitationStatus.EXPIRED
        return InvitationStatus(self.status)
