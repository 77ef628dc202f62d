"""The hourly limit in front of every authorised request, and the headers that tell of it."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from orgs.context import OrgContext
from orgs.roles import Role
from quotas.errors import PlansMissing
from quotas.resources import Resource
from quotas.services import rate_limit
from quotas.services.limits import effective_limit
from quotas.services.rate_limit import WINDOW_SECONDS, Verdict
from spoke.core import tenancy
from spoke.core.errors import RateLimited

if TYPE_CHECKING:  # the framework's views read the settings that name this class
    from rest_framework.views import APIView

logger = structlog.get_logger(__name__)
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
        context: OrgContext | None = getattr(view, "context", None)
        if context is not None and not _is_visiting_staff(context):
            org_id = context.org.pk
            limit = _api_limit(org_id, timezone.now())
            verdict = rate_limit.hit_organization(org_id=org_id, limit=limit)
        elif request.user is not None and request.user.pk is not None:
            verdict = rate_limit.hit_user(user_id=request.user.pk, limit=PERSON_LIMIT)
        else:
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


def _is_visiting_staff(context: OrgContext) -> bool:
    return context.role is Role.STAFF and context.membership is None


def _api_limit(org_id: int, now: datetime) -> int | None:
    try:
        with tenancy.organization(org_id):
            return effective_limit(org_id=org_id, resource=Resource.API_REQUESTS, now=now)
    except PlansMissing as exc:
        logger.error("quotas.plans_missing", detail=exc.detail)
        return LIMIT_WITHOUT_PLANS


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
