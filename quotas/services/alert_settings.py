"""Which thresholds an organization has, and who wants no mail of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orgs.context import Actor
from orgs.models import Membership, User
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from quotas.models import Alert, AlertOptOut, AlertSettings
from quotas.models.alert import HIGHEST_THRESHOLD, LOWEST_THRESHOLD, OVERAGE
from quotas.resources import Resource
from quotas.services.alert_mail import RECIPIENT_ROLES
from spoke.core.errors import InvalidInput

DEFAULT_THRESHOLDS = (50, 80, 100)
MOST_THRESHOLDS = 10
# What a period's usage is compared with; versions are limited module by module.
WITH_THRESHOLDS = (
    Resource.MODULES.value,
    Resource.STORAGE.value,
    Resource.COMPILE_JOBS.value,
    Resource.API_REQUESTS.value,
    OVERAGE,
)
MOST_FIRED = 100


@dataclass(frozen=True)
class AlertOverview:
    """What an organization has, and one person of it. `fired`: in the current period, latest first."""

    thresholds: dict[str, list[int]]
    email_me: bool
    fired: list[Alert]
    revision: int


def thresholds_of(*, org_id: int) -> dict[str, list[int]]:
    """The thresholds in force of everything that has any, ascending; an empty list is none."""
    return _in_force(AlertSettings.objects.filter(org_id=org_id).first())


def _in_force(settings: AlertSettings | None) -> dict[str, list[int]]:
    own = settings.thresholds if settings else {}
    return {name: list(own.get(name, DEFAULT_THRESHOLDS)) for name in WITH_THRESHOLDS}


def alert_overview(*, org_id: int, user: User | None, now: datetime) -> AlertOverview:
    """The alerts as they are shown to somebody; a service token is nobody who gets mail."""
    settings = AlertSettings.objects.filter(org_id=org_id).first()
    fired = Alert.objects.filter(org_id=org_id, period__start__lte=now, period__end__gt=now)
    return AlertOverview(
        thresholds=_in_force(settings),
        email_me=user is not None and _is_told(org_id, user),
        fired=list(fired.order_by("-fired_at", "resource", "-threshold")[:MOST_FIRED]),
        revision=settings.revision if settings else 1,
    )


def _is_told(org_id: int, user: User) -> bool:
    opted_out = AlertOptOut.objects.filter(org_id=org_id, user=user)
    return _may_be_told(org_id, user) and not opted_out.exists()


def _may_be_told(org_id: int, user: User) -> bool:
    rows = Membership.objects.filter(org_id=org_id, user=user, role__in=RECIPIENT_ROLES)
    return rows.exists()


def lock_alert_settings(*, org_id: int, now: datetime) -> AlertSettings:
    """The organization's alert settings, made where missing, locked until the transaction ends.

    Every change of them takes this lock first. Raises Organization.DoesNotExist.
    """
    lock_organization(org_id)
    settings, _ = AlertSettings.objects.get_or_create(org_id=org_id, defaults={"updated_at": now})
    return settings


def change_alerts(
    *,
    org_id: int,
    actor: Actor,
    now: datetime,
    thresholds: Mapping[str, Sequence[int] | None] | None = None,
    email_me: bool | None = None,
) -> None:
    """Changes what is given and nothing else: thresholds by resource (None: the default ones again), and
    whether the actor wants mail. Audited.

    Raises InvalidInput for thresholds that make no sense, and for mail to somebody who is never told.
    """
    wanted = {name: _checked(name, values) for name, values in (thresholds or {}).items()}
    settings = lock_alert_settings(org_id=org_id, now=now)
    old: dict[str, object] = {}
    new: dict[str, object] = {}
    for name, values in wanted.items():
        before = settings.thresholds.get(name)
        if before != values:
            old[name], new[name] = before, values
            settings.thresholds[name] = values
    if new:
        own = {name: values for name, values in settings.thresholds.items() if values is not None}
        settings.thresholds = own
        settings.revision += 1
        settings.updated_at = now
        settings.save()
    if email_me is not None and _set_mail(org_id, actor.user, email_me, now):
        old["email_me"], new["email_me"] = not email_me, email_me
    if new:
        record_event(
            org_id=org_id,
            actor=actor,
            action="alerts.changed",
            now=now,
            target=("organization", org_id),
            data={"old": old, "new": new},
        )


def _checked(name: str, values: Sequence[int] | None) -> list[int] | None:
    """Ascending, each once."""
    field = f"thresholds.{name}"
    if name not in WITH_THRESHOLDS:
        raise InvalidInput("There are no alerts of this.", field=field)
    if values is None:
        return None
    if len(values) > MOST_THRESHOLDS:
        raise InvalidInput(f"At most {MOST_THRESHOLDS} thresholds.", field=field)
    if not all(LOWEST_THRESHOLD <= value <= HIGHEST_THRESHOLD for value in values):
        raise InvalidInput(
            f"Thresholds lie between {LOWEST_THRESHOLD} and {HIGHEST_THRESHOLD} percent.",
            field=field,
        )
    return sorted(set(values))


def _set_mail(org_id: int, user: User | None, wanted: bool, now: datetime) -> bool:
    """Says whether that changed anything. Raises InvalidInput for somebody who is never told."""
    if user is None or not _may_be_told(org_id, user):
        if wanted:
            raise InvalidInput("Only owners and admins get this mail.", field="email_me")
        return False
    if wanted:
        return AlertOptOut.objects.filter(org_id=org_id, user=user).delete()[0] > 0
    _, made = AlertOptOut.objects.get_or_create(
        org_id=org_id, user=user, defaults={"created_at": now}
    )
    return made
