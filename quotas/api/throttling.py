"""The hourly limit in front of every authorised request, and the headers that tell of it."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import structlog
from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from orgs.context import OrgContext, Principal
from orgs.roles import Role
from orgs.services.grants import Grant, Sighting
from quotas.errors import PlansMissing
from quotas.resources import Resource
from quotas.services import rate_limit
from quotas.services.limits import effective_limits
from quotas.services.rate_limit import WINDOW_SECONDS, Verdict
from spoke.core import tenancy, valkey
from spoke.core.errors import RateLimited
from spoke.core.recent import Recent

if TYPE_CHECKING:  # the framework's views read the settings that name this class
    from rest_framework.views import APIView

    from orgs.api.base import OrgScopedViewSet

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownLimit:
    """An hourly limit with the stamp it stands on."""

    limit: int | None
    sighting: Sighting
    until: datetime


_limits: Recent[int, KnownLimit] = Recent(most=50_000)
# Requests an hour of a person outside any organization, and of staff in others' organizations.
PERSON_LIMIT = 5_000
# Requests an hour while no plan is published; the log asks for `seed_plans` meanwhile.
LIMIT_WITHOUT_PLANS = 1_000
# Structured fields hold whole numbers of 15 digits.
MOST_IN_A_FIELD = 10**15 - 1


class GovernedThrottle(BaseThrottle):
    """Counts a request against its organization's hourly limit, or a person's own.

    Staff who work in an organization they do not belong to use up nothing of it: they could else
    neither look at nor raise a limit that is used up.
    """

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """True, or RateLimited is raised; either way `request.limit_headers` is set."""
        # Set within this process alone: by the pages, on what they ask for somebody.
        if getattr(request, "from_page", False):
            return True
        verdict = self._verdict(request, view)
        if verdict is None:
            return True
        reset_at = int(time.time()) + verdict.reset
        request.limit_headers = limit_headers(verdict, reset_at)  # type: ignore[attr-defined]
        if not verdict.allowed:
            raise RateLimited(
                f"{verdict.limit} requests an hour are allowed. Try again in {verdict.reset} s.",
                headers={"Retry-After": str(verdict.reset)},
                limit=verdict.limit,
                remaining=0,
                reset=reset_at,
            )
        return True

    def _verdict(self, request: Request, view: "APIView") -> Verdict | None:
        context: OrgContext | None = getattr(view, "context", None)
        if context is not None and not _is_visiting_staff(context):
            return _of_organization(request, cast("OrgScopedViewSet", view))
        if request.user is not None and request.user.pk is not None:
            return rate_limit.hit_user(user_id=request.user.pk, limit=PERSON_LIMIT)
        # A service token that asks for itself, of no organization in the address.
        token = request.auth.token if isinstance(request.auth, Principal) else None
        if token is None or token.org_id is None:
            return None
        limit = _api_limit(token.org_id, None, timezone.now())
        return rate_limit.hit_organization(org_id=token.org_id, limit=limit)


def _of_organization(request: Request, view: "OrgScopedViewSet") -> Verdict:
    """Counts the request; what the view remembers is looked up again where its stamp has changed."""
    now, org_id = timezone.now(), view.org.pk
    stamp = view.grant.sighting.stamp if view.grant and view.remembered else None
    verdict = rate_limit.hit_organization(
        org_id=org_id, limit=_api_limit(org_id, view.grant, now), stamp=stamp
    )
    if stamp is None:
        return verdict
    doubtful = view.grant is None or view.grant.sighting.epoch != valkey.epoch()
    if verdict.stands and not doubtful:
        return verdict
    view.look_up_again(request)
    if verdict.stands is False:
        limit = _api_limit(org_id, view.grant, now)
        verdict = rate_limit.hit_organization(org_id=org_id, limit=limit)
    return verdict


def _is_visiting_staff(context: OrgContext) -> bool:
    return context.role is Role.STAFF and context.membership is None


def _api_limit(org_id: int, grant: Grant | None, now: datetime) -> int | None:
    """The hourly limit in force; remembered beside a grant, for as long as that is good."""
    sighting = grant.sighting if grant else None
    known = _limits.get(org_id) if sighting else None
    if known and known.sighting == sighting and now < known.until:
        return known.limit
    try:
        with tenancy.organization(org_id):
            found = effective_limits(org_id=org_id, now=now)[Resource.API_REQUESTS]
    except PlansMissing as exc:
        logger.error("quotas.plans_missing", detail=exc.detail)
        return LIMIT_WITHOUT_PLANS
    if sighting is not None:
        until = now + timedelta(seconds=settings.PRINCIPAL_CACHE_SECONDS)
        if found.expires_at is not None:
            until = min(until, found.expires_at)
        _limits.put(org_id, KnownLimit(found.limit, sighting, until))
    return found.limit


def limit_headers(verdict: Verdict, reset_at: int) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-10, and those that older clients read.

    `t` and Reset (seconds since the epoch) say when more becomes available; nothing is said of an
    unlimited organization.
    """
    if verdict.limit is None or verdict.remaining is None:
        return {}
    quota = min(verdict.limit, MOST_IN_A_FIELD)
    remaining = min(verdict.remaining, MOST_IN_A_FIELD)
    fields: dict[str, Any] = {
        "RateLimit-Policy": f'"hour";q={quota};w={WINDOW_SECONDS}',
        "RateLimit": f'"hour";r={remaining};t={verdict.reset}',
        "X-RateLimit-Limit": quota,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": reset_at,
    }
    return {name: str(value) for name, value in fields.items()}
