"""Reserve, commit and release for a data plane outside this project.

A hold counts like any other use from the moment it is made; committing it changes no level. What is
not committed in time is given back by a task. Its row is locked before the gauge that it changes, and
a transaction settles one hold at a time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Sum

from quotas.errors import BudgetExceeded, QuotaExceeded
from quotas.models import Hold, HoldState
from quotas.resources import Resource
from quotas.services import usage
from quotas.services.limits import effective_limits
from quotas.services.periods import current_period
from quotas.services.reservations import give_back, release, reserve
from spoke.core import tenancy
from spoke.core.errors import Conflict, InvalidInput, NotFound

# What this project counts by its own rows cannot be held for others.
HOLDABLE = (Resource.COMPILE_JOBS, Resource.STORAGE)
CHECKABLE = (Resource.MODULES, *HOLDABLE)
LONGEST = timedelta(hours=24)
DEFAULT_LIFETIME = timedelta(minutes=15)
# Settled holds are kept so long, for those who ask what became of one; stored bytes as long as stored.
KEPT = timedelta(days=90)
STANDING = (HoldState.HELD, HoldState.COMMITTED)


class HoldSettled(Conflict):
    """The hold has another end already, which `state` names."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(
            f"This reservation is {hold.state} since {hold.settled_at:%Y-%m-%dT%H:%M:%SZ}.",
            code=f"reservation_{hold.state}",
            state=hold.state,
        )


class HoldOverdue(Conflict):
    """The hold's time is over, though it is not given back yet."""

    code = "reservation_expired"

    def __init__(self) -> None:
        super().__init__("This reservation has expired.", state=HoldState.EXPIRED.value)


@dataclass(frozen=True)
class Entitlement:
    """Whether an amount could be reserved now. `refusal` is the code of the error it would get.

    `current` None: not known at the moment.
    """

    allowed: bool
    current: int | None
    limit: int | None
    overage: bool
    refusal: str | None


def check_entitlement(
    *, org_id: int, resource: Resource, amount: int, now: datetime
) -> Entitlement:
    """Says what `reserve` would say, changing nothing. Raises ValueError for what it cannot reserve."""
    if resource not in CHECKABLE:
        raise ValueError(f"{resource} is not checked by amount")
    limit = effective_limits(org_id=org_id, now=now)[resource]
    refusal = None
    with transaction.atomic():
        try:
            reserve(org_id=org_id, resource=resource, amount=amount, now=now)
        except (QuotaExceeded, BudgetExceeded) as exc:
            refusal = exc.error_code
        transaction.set_rollback(True)
    period = current_period(org_id=org_id, now=now)
    current = usage.usage_of_period(period=period, now=now)[resource]
    return Entitlement(refusal is None, current, limit.limit, limit.overage, refusal)


def place_hold(
    *,
    org_id: int,
    resource: Resource,
    amount: int,
    lifetime: timedelta,
    reference: str,
    now: datetime,
) -> Hold:
    """The amount is reserved for the lifetime, or nothing is.

    Raises QuotaExceeded, BudgetExceeded, or InvalidInput for what cannot be held or for how long.
    """
    if resource not in HOLDABLE:
        names = " and ".join(HOLDABLE)
        raise InvalidInput(f"Only {names} can be reserved from outside.", field="resource")
    if not timedelta(seconds=1) <= lifetime <= LONGEST:
        raise InvalidInput("From 1 second to 24 hours.", field="expires_in")
    reserve(org_id=org_id, resource=resource, amount=amount, now=now)
    return Hold.objects.create(
        org_id=org_id,
        resource=resource,
        amount=amount,
        reference=reference,
        created_at=now,
        expires_at=now + lifetime,
    )


def commit_hold(*, org_id: int, hold_id: int, now: datetime, amount: int | None = None) -> Hold:
    """The hold stands for good, or as much of it as was used; committing again changes nothing.

    Raises NotFound, InvalidInput for more than was held, and HoldSettled or HoldOverdue.
    """
    hold = _locked(org_id, hold_id)
    if hold.state == HoldState.COMMITTED:
        return hold
    if hold.state != HoldState.HELD:
        raise HoldSettled(hold)
    if hold.expires_at <= now:
        raise HoldOverdue
    used = hold.amount if amount is None else amount
    if not 0 <= used <= hold.amount:
        raise InvalidInput(f"At most the {hold.amount} that are held.", field="amount")
    _give_back(hold, hold.amount - used, now)
    hold.amount = used
    return _settle(hold, HoldState.COMMITTED, now)


def release_hold(*, org_id: int, hold_id: int, now: datetime) -> Hold:
    """What was held is given back, stored bytes even once committed; releasing again changes nothing.

    Raises NotFound, and HoldSettled for a committed use of a meter: what was used stays used.
    """
    hold = _locked(org_id, hold_id)
    if hold.state in (HoldState.RELEASED, HoldState.EXPIRED):
        return hold
    if hold.state == HoldState.COMMITTED and hold.resource != Resource.STORAGE:
        raise HoldSettled(hold)
    _give_back(hold, hold.amount, now)
    return _settle(hold, HoldState.RELEASED, now)


def expire_hold(*, org_id: int, hold_id: int, now: datetime) -> bool:
    """What was held and not settled in time is given back, once; says whether that was to be done."""
    due = Hold.objects.for_org(org_id).filter(state=HoldState.HELD, expires_at__lte=now)
    hold = due.select_for_update().filter(pk=hold_id).first()
    if hold is None:
        return False
    _give_back(hold, hold.amount, now)
    _settle(hold, HoldState.EXPIRED, now)
    return True


def due_holds(*, now: datetime) -> list[tuple[int, int]]:
    """(organization, hold) of what has expired and is still held."""
    with tenancy.all_organizations(reason="find expired reservations"):
        due = Hold.objects.filter(state=HoldState.HELD, expires_at__lte=now)
        return list(due.order_by("expires_at", "pk").values_list("org_id", "pk"))


def prune_holds(*, now: datetime) -> int:
    """Forgets holds that were settled long ago and count no more, or in a past period; how many."""
    with tenancy.all_organizations(reason="prune reservations"):
        old = Hold.objects.filter(settled_at__lt=now - KEPT)
        return old.exclude(resource=Resource.STORAGE, state=HoldState.COMMITTED).delete()[0]


def held_storage(*, org_id: int) -> int:
    """The bytes that others keep for the organization, by what they have reserved."""
    rows = Hold.objects.for_org(org_id).filter(resource=Resource.STORAGE, state__in=STANDING)
    return int(rows.aggregate(total=Sum("amount"))["total"] or 0)


def _locked(org_id: int, hold_id: int) -> Hold:
    hold = Hold.objects.for_org(org_id).select_for_update().filter(pk=hold_id).first()
    if hold is None:
        raise NotFound("There is no such reservation.")
    return hold


def _give_back(hold: Hold, amount: int, now: datetime) -> None:
    resource = Resource(hold.resource)
    if resource is Resource.STORAGE:
        release(org_id=hold.org_id, resource=resource, amount=amount, now=now)
    else:
        # A meter counted it when it was held.
        give_back(org_id=hold.org_id, resource=resource, amount=amount, used_at=hold.created_at)


def _settle(hold: Hold, state: HoldState, now: datetime) -> Hold:
    hold.state, hold.settled_at = state, now
    hold.save(update_fields=["state", "amount", "settled_at"])
    return hold
