"""The audit log: every service that changes something records it in the same transaction."""

from datetime import datetime
from typing import Any

from orgs.context import Actor
from orgs.models import AuditEvent
from spoke.core import stamps
from spoke.core.requestid import current_request_id

# Acts that change neither who may do what nor how much of it. All others touch the stamp.
OF_NO_GRANT = frozenset({"module", "version", "invoice"})


def record_event(
    *,
    org_id: int,
    actor: Actor,
    action: str,
    now: datetime,
    target: tuple[str, object] | None = None,
    data: dict[str, Any] | None = None,
) -> AuditEvent:
    """The event commits or fails with the change it tells of.

    `action` is `noun.verb` (`member.removed`); `target` is (kind, id); `data` holds plain JSON
    values and never a secret. What others remember of the organization ends with the commit.
    """
    kind, target_id = target or ("", "")
    if action.partition(".")[0] not in OF_NO_GRANT:
        stamps.touch(org_id)
    return AuditEvent.objects.create(
        org_id=org_id,
        at=now,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        action=action,
        target_type=kind,
        target_id=str(target_id),
        data=data or {},
        request_id=current_request_id(),
    )
