"""API tokens: a user's own, or an organization's (service tokens)."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from orgs.models.member import ROLE_CHOICES


class TokenStatus(models.TextChoices):
    """Follows from the times kept; it is no column."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


class TokenQuerySet(models.QuerySet["ApiToken"]):
    def for_org(self, org_id: int) -> "TokenQuerySet":
        return self.filter(org_id=org_id).select_related("created_by")

    def in_status(self, status: str, now: datetime) -> "TokenQuerySet":
        """Those that `status_at(now)` says this of."""
        if status == TokenStatus.ACTIVE:
            return self.usable(now)
        if status == TokenStatus.REVOKED:
            return self.filter(revoked_at__isnull=False)
        return self.filter(revoked_at__isnull=True, expires_at__lte=now)

    def usable(self, now: datetime) -> "TokenQuerySet":
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True
        )


class ApiToken(models.Model):
    """A bearer token; only its SHA-256 digest is kept.

    A personal token has a `user` and acts as them wherever they are a member. A service token has an
    `org` and a `role` there, and lives on when its creator leaves.
    """

    org = models.ForeignKey(
        "orgs.Organization", models.CASCADE, null=True, blank=True, related_name="tokens"
    )
    user = models.ForeignKey(
        "orgs.User", models.CASCADE, null=True, blank=True, related_name="tokens"
    )
    name = models.CharField(max_length=100)
    # What a person recognizes the token by: its first characters, which are no secret.
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=16))
    role = models.CharField(max_length=16, choices=ROLE_CHOICES, blank=True)
    created_by = models.ForeignKey("orgs.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(org__isnull=False, user__isnull=True) & ~Q(role="")
                | Q(org__isnull=True, user__isnull=False, role=""),
                name="orgs_apitoken_one_bearer",
            )
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"

    @property
    def is_service(self) -> bool:
        """Whether it belongs to an organization rather than to a person."""
        return self.org_id is not None

    def status_at(self, now: datetime) -> TokenStatus:
        """Whether it works at this time, and if not, why."""
        if self.revoked_at is not None:
            return TokenStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return TokenStatus.EXPIRED
        return TokenStatus.ACTIVE
