"""Memberships and the handing over of ownership."""

from django.db import models
from django.db.models import Q

from orgs.roles import MEMBER_ROLES, Role

ROLE_CHOICES = [(role.value, role.value) for role in MEMBER_ROLES]


class MembershipQuerySet(models.QuerySet["Membership"]):
    def for_org(self, org_id: int) -> "MembershipQuerySet":
        return self.filter(org_id=org_id).select_related("user")

    def owners(self) -> "MembershipQuerySet":
        return self.filter(role=Role.OWNER)


class Membership(models.Model):
    """A user's role in an organization."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="memberships")
    user = models.ForeignKey("orgs.User", models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=ROLE_CHOICES)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "user"], name="orgs_membership_org_user_unique"),
            models.CheckConstraint(
                condition=Q(role__in=[role.value for role in MEMBER_ROLES]),
                name="orgs_membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"user {self.user_id} in {self.org_id}: {self.role}"


class TransferStatus(models.TextChoices):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


class OwnershipTransfer(models.Model):
    """An offer of ownership to another member, who has to confirm it."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="transfers")
    from_user = models.ForeignKey("orgs.User", models.CASCADE, related_name="+")
    to_user = models.ForeignKey("orgs.User", models.CASCADE, related_name="+")
    status = models.CharField(max_length=16, choices=TransferStatus, default=TransferStatus.PENDING)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org"],
                condition=Q(status=TransferStatus.PENDING),
                name="orgs_ownershiptransfer_one_pending",
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: {self.from_user_id} to {self.to_user_id} ({self.status})"
