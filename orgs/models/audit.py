"""What was done in an organization, by whom: append-only."""

from datetime import datetime

from django.db import models


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def for_org(self, org_id: int) -> "AuditQuerySet":
        return self.filter(org_id=org_id)

    def matching(
        self,
        *,
        actor: str = "",
        action: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        **exact: str,
    ) -> "AuditQuerySet":
        """Events by actor (id, or label such as an address), action (exact, or `member.` for all of
        a kind), time (`since` inclusive, `until` exclusive) and exact columns."""
        rows = self.filter(**exact)
        if actor.isascii() and actor.isdigit():
            rows = rows.filter(actor_id=int(actor))
        elif actor:
            rows = rows.filter(actor_label__iexact=actor)
        if action:
            rows = rows.filter(
                **{"action__startswith" if action.endswith(".") else "action": action}
            )
        if since is not None:
            rows = rows.filter(at__gte=since)
        if until is not None:
            rows = rows.filter(at__lt=until)
        return rows


class AuditEvent(models.Model):
    """One act. Actor and target are kept as text, so that the event outlives them."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="audit_events")
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_id = models.BigIntegerField(null=True)
    actor_label = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=32, blank=True)
    target_id = models.CharField(max_length=128, blank=True)
    data = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["org", "-id"], name="orgs_auditevent_newest"),
            models.Index(fields=["org", "action", "-id"], name="orgs_auditevent_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_label}"
