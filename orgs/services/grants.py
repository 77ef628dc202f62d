"""What a process remembers of who may do what: a token's principal and its place in an organization.

A grant is good while the organization's stamp stands (`spoke.core.stamps`), which a request compares in
the script that counts it. It is never what a refusal rests on: that is looked up. Nothing is remembered
of outsiders, of visiting staff, of closed organizations, or of anybody without a token.
"""

import copy
import time
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from orgs.context import OrgContext, Principal
from orgs.models import Organization, OrganizationStatus
from orgs.services.tokens import digest_of
from spoke.core import stamps, valkey
from spoke.core.recent import Recent


@dataclass(frozen=True, slots=True)
class Sighting:
    """An organization's stamp, read before what is then loaded."""

    org_id: int
    stamp: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A context with the stamp it stands on. `until` is in seconds of the monotonic clock."""

    context: OrgContext
    principal: Principal
    sighting: Sighting
    until: float


# A grant takes some 8 KiB.
_grants: Recent[tuple[str, str], Grant] = Recent(most=20_000)
_ids: Recent[str, int] = Recent(most=50_000)


def sight(ref: str) -> Sighting | None:
    """The stamp of the organization named by number or slug.

    None where nothing is to be remembered: while Valkey is away, and for a slug not met before.
    """
    org_id = int(ref) if ref.isdigit() else _ids.get(ref)
    if org_id is None or not settings.PRINCIPAL_CACHE_SECONDS:
        return None
    # The epoch first: a connection that is opened by the reading already makes it doubtful.
    epoch = valkey.epoch()
    stamp = stamps.read_stamp(org_id)
    return None if stamp is None else Sighting(org_id, stamp, epoch)


def remember(
    *, raw: str, ref: str, principal: Principal, context: OrgContext, sighting: Sighting | None
) -> Grant | None:
    """Keeps a context that was loaded after the sighting; None where it is not to be kept."""
    _ids.put(context.org.name, context.org.pk)
    visiting = context.membership is None and principal.user is not None
    if (
        sighting is None
        or sighting.org_id != context.org.pk
        or visiting
        or context.org.status == OrganizationStatus.CLOSED
    ):
        return None
    until = time.monotonic() + settings.PRINCIPAL_CACHE_SECONDS
    grant = Grant(context, principal, sighting, until)
    _grants.put((digest_of(raw), ref), grant)
    return replace(grant, context=_own(context))


def recall(*, raw: str, ref: str, now: datetime) -> Grant | None:
    """What is remembered of this token and organization, subject to its stamp."""
    key = digest_of(raw), ref
    grant = _grants.get(key)
    if grant is None:
        return None
    token = grant.principal.token
    expired = token is not None and token.expires_at is not None and token.expires_at <= now
    if expired or time.monotonic() >= grant.until or grant.sighting.epoch != valkey.epoch():
        _grants.drop(key)
        return None
    return replace(grant, context=_own(grant.context))


def forget(*, raw: str, ref: str) -> None:
    """Nothing is remembered of this token and organization."""
    _grants.drop((digest_of(raw), ref))


def forget_all() -> None:
    """Nothing is remembered."""
    _grants.clear()
    _ids.clear()


def _own(context: OrgContext) -> OrgContext:
    # Services change the row they are given; what is remembered stays as it was loaded. What
    # copy.copy does, at a third of the time.
    org = Organization.__new__(Organization)
    org.__dict__.update(context.org.__dict__, _state=copy.copy(context.org._state))
    return replace(context, org=org)
