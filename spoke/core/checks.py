"""System checks: production refuses to start with a development default."""

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connection


@register()
def production_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """No default secret, no DEBUG, no embedded or plain-text address in production."""
    if not settings.PRODUCTION:
        return []
    problems: list[CheckMessage] = []
    if settings.SECRET_KEY == settings.DEVELOPMENT_SECRET or len(settings.SECRET_KEY) < 50:
        problems.append(
            Error("Set SPOKE_SECRET_KEY to a secret of 50 characters or more.", id="spoke.E001")
        )
    if settings.DEBUG:
        problems.append(Error("DEBUG must be off.", id="spoke.E002"))
    problems += [
        Error(f"Set {name}: production uses no embedded server.", id="spoke.E003")
        for name in ("DATABASE_URL", "REDIS_URL")
        if name not in settings.CONFIGURED
    ]
    if not settings.SPOKE_BASE_URL.startswith("https://"):
        problems.append(
            Error("SPOKE_BASE_URL must start with https:// in production.", id="spoke.E004")
        )
    return problems


@register()
def stripe_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A live key goes to Stripe only, and is a secret key."""
    key, host = settings.STRIPE_SECRET_KEY, getattr(settings, "STRIPE_API_HOST", "")
    problems: list[CheckMessage] = []
    if host and ("_live_" in key or settings.PRODUCTION):
        problems.append(
            Error("STRIPE_API_HOST stands in for Stripe: it is for development.", id="spoke.E006")
        )
    if key and not re.fullmatch(r"(sk|rk)_(test|live)_[A-Za-z0-9]{24,}", key):
        problems.append(
            Error("STRIPE_SECRET_KEY is no secret or restricted key of Stripe's.", id="spoke.E007")
        )
    return problems


@register("database")
def runtime_role(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The role under which requests run is bound by row-level security."""
    if not databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles"
            " WHERE rolname = COALESCE(NULLIF(%s, ''), current_user)",
            [settings.DATABASE_ROLE],
        )
        row = cursor.fetchone()
    if row and row[0]:
        return [
            Error(
                "The runtime role bypasses row-level security; set DATABASE_ROLE to a plain role.",
                id="spoke.E005",
            )
        ]
    return []
