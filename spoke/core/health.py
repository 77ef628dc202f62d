"""Liveness and readiness, for load balancers and people."""

from collections.abc import Callable

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from spoke.core import valkey


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _redis() -> None:
    if valkey.is_silent():
        raise RedisTimeoutError
    cache.get("health")


# name: (probe, whether Spoke can serve without it)
PROBES: dict[str, tuple[Callable[[], None], bool]] = {
    "database": (_database, False),
    "redis": (_redis, True),
}


def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, 503 with the failing part when not.

    Without Redis requests are served under the documented fallback: the status is `degraded`.
    """
    status, checks = "ok", {}
    for name, (probe, optional) in PROBES.items():
        try:
            probe()
            checks[name] = "ok"
        except (DatabaseError, RedisError) as exc:
            checks[name] = type(exc).__name__
            status = "degraded" if optional and status != "unavailable" else "unavailable"
    if checks["database"] != "ok":
        connection.close()
    code = 503 if status == "unavailable" else 200
    headers = {"Retry-After": "5"} if code == 503 else {}
    return JsonResponse({"status": status, "checks": checks}, status=code, headers=headers)
