"""Tables that serve every app."""

from django.db import models
from django.db.models import Q


class IdempotencyRecord(models.Model):
    """The first answer given under an Idempotency-Key, kept for 24 hours.

    `org_id` has no foreign key: this package knows nothing of organizations. Where a call belongs to
    no organization, the key belongs to the user.
    """

    org_id = models.BigIntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    response_status = models.PositiveSmallIntegerField()
    # Sealed: an answer may hold a secret that is shown once.
    response_body = models.TextField()
    # Sealed too; empty where the answer had none to keep, or an older release kept it.
    response_headers = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "key"],
                condition=Q(org_id__isnull=False),
                name="core_idempotency_org_key_unique",
            ),
            models.UniqueConstraint(
                fields=["user_id", "key"],
                condition=Q(org_id__isnull=True),
                name="core_idempotency_user_key_unique",
            ),
            models.CheckConstraint(
                condition=Q(org_id__isnull=False) | Q(user_id__isnull=False),
                name="core_idempotency_has_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.response_status})"
