"""Examples in the OpenAPI document."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from spoke.core.schema import problem_example

_ROWS: list[tuple[str, int, str, str, bool, int]] = [
    ("modules", 50, "modules", "plan", False, 12),
    ("versions", 500, "versions of a module", "plan", False, 87),
    ("storage", 10_737_418_240, "bytes", "plan", True, 734_003_200),
    ("compile_jobs", 2_000, "jobs a month", "override", False, 310),
    ("api_requests", 10_000, "requests an hour", "plan", False, 42),
]
_EXPIRY = "2026-12-31T23:59:59Z"
_QUOTAS: dict[str, Any] = {
    "max_modules": 50,
    "max_versions_per_module": 500,
    "max_storage_bytes": 10_737_418_240,
    "max_compile_jobs_per_month": 2_000,
    "api_rate_limit_per_hour": 10_000,
    "custom_settings": {"contract": "2026-117"},
    "plan": "pro",
    "plan_version": 1,
    "limits": [
        {
            "resource": resource,
            "limit": limit,
            "unit": unit,
            "source": source,
            "overage": overage,
            "used": used,
            "remaining": limit - used,
            "override_expires_at": _EXPIRY if source == "override" else None,
        }
        for resource, limit, unit, source, overage, used in _ROWS
    ],
}
_PERIOD: dict[str, Any] = {
    "period_start": "2026-11-01T00:00:00Z",
    "period_end": "2026-12-01T00:00:00Z",
    "status": "open",
    "modules_count": 12,
    "versions_count": 240,
    "storage_bytes": 734_003_200,
    "storage_average_bytes": 611_874_022,
    "compile_jobs_count": 310,
    "api_requests_count": 18_240,
}
_USAGE = _PERIOD | {
    "resources": [
        {
            "resource": resource,
            "unit": unit,
            "used": used,
            "limit": limit,
            "percent": round(100 * used / limit, 2),
        }
        for resource, limit, unit, _, _, used in _ROWS
    ]
}
_CLOSED = _PERIOD | {
    "period_start": "2026-10-01T00:00:00Z",
    "period_end": "2026-11-01T00:00:00Z",
    "status": "closed",
}
_PLAN: dict[str, Any] = {
    "code": "pro",
    "version": 1,
    "name": "Pro",
    "description": "For teams that publish schemas every day.",
    "max_modules": 50,
    "max_versions_per_module": 500,
    "max_storage_bytes": 10_737_418_240,
    "max_compile_jobs_per_month": 1_000,
    "api_rate_limit_per_hour": 10_000,
    "limits": [
        {"resource": "modules", "limit": 50, "unit": "modules", "overage": False},
        {"resource": "compile_jobs", "limit": 1_000, "unit": "jobs a month", "overage": True},
    ],
    "prices": [{"interval": "month", "amount_cents": 4900, "currency": "usd"}],
    "charges": [
        {
            "resource": "compile_jobs",
            "unit": "job",
            "unit_size": 1,
            "included": 1_000,
            "unit_amount": "0.05",
            "currency": "usd",
        }
    ],
}

QUOTAS = OpenApiExample("Limits of a pro organization", value=_QUOTAS, response_only=True)
CHANGE = OpenApiExample(
    "Raise a limit until the year ends, and take another override away",
    value={
        "max_compile_jobs_per_month": 2000,
        "reset": ["max_modules"],
        "expires_at": _EXPIRY,
        "reason": "Migration of the old registry, ticket 117",
    },
    request_only=True,
)
USAGE = OpenApiExample("Usage of the current period", value=_USAGE, response_only=True)
PERIODS = OpenApiExample(
    "Earlier periods",
    value={"results": [_CLOSED], "next": None, "previous": None},
    response_only=True,
)
SERIES = OpenApiExample(
    "Two hours of requests (granularity=hour)",
    value={
        "resource": "api_requests",
        "granularity": "hour",
        "results": [
            {"start": "2026-11-23T13:00:00Z", "used": 118},
            {"start": "2026-11-23T14:00:00Z", "used": 97},
        ],
        "next": None,
        "previous": None,
    },
    response_only=True,
)
EVENTS = OpenApiExample(
    "Two events",
    value={
        "events": [
            {
                "idempotency_key": "download-8f14e45f",
                "meter": "artifact_downloads",
                "quantity": 1,
                "timestamp": "2026-11-23T14:19:58Z",
                "properties": {"user": "ada", "region": "eu"},
            },
            {
                "idempotency_key": "cache-c9f0f895-evict",
                "meter": "cache_bytes",
                "quantity": "-1048576",
                "timestamp": "2026-11-23T14:19:59.250Z",
            },
        ]
    },
    request_only=True,
)
INGESTED = OpenApiExample(
    "Of 1,000 events one was stored before and one is not in order",
    value={
        "accepted": 998,
        "duplicates": 1,
        "rejected": 1,
        "results": [
            {
                "index": 17,
                "idempotency_key": "download-8f14e45f",
                "status": "duplicate",
                "code": "duplicate",
                "detail": "An event with this idempotency_key is stored.",
            },
            {
                "index": 204,
                "idempotency_key": "download-1679091c",
                "status": "rejected",
                "code": "unknown_meter",
                "detail": "There is no such meter.",
            },
        ],
    },
    response_only=True,
)
TOO_MANY_EVENTS = problem_example(
    "Too many events",
    status=400,
    code="validation_error",
    detail="At most 10000 events at once.",
    errors=[{"field": "events", "code": "max_length", "detail": "At most 10000 events at once."}],
)
METERS = OpenApiExample(
    "Two meters by day (granularity=day)",
    value={
        "start": "2026-11-22T00:00:00Z",
        "end": "2026-11-23T14:20:00Z",
        "results": [
            {
                "meter": "artifact_downloads",
                "name": "Artifacts downloaded",
                "aggregation": "count",
                "unit": "downloads",
                "total": "5184",
                "series": [
                    {"start": "2026-11-22T00:00:00Z", "value": "3120"},
                    {"start": "2026-11-23T00:00:00Z", "value": "2064"},
                ],
            },
            {
                "meter": "queue_depth",
                "name": "Jobs waiting",
                "aggregation": "latest",
                "unit": "jobs",
                "total": "3",
                "series": [
                    {"start": "2026-11-22T00:00:00Z", "value": None},
                    {"start": "2026-11-23T00:00:00Z", "value": "3"},
                ],
            },
        ],
        "next": None,
        "previous": None,
    },
    response_only=True,
)
BUDGET_CHANGE = OpenApiExample(
    "At most $20.00 of overage",
    value={"amount_cents": 2_000, "action": "block"},
    request_only=True,
)
BUDGET = OpenApiExample(
    "The budget and what it has to pay for",
    value={
        "amount_cents": 2_000,
        "currency": "usd",
        "action": "block",
        "spend": {
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "amount_cents": 600,
            "percent": 30.0,
            "lines": [
                {
                    "resource": "compile_jobs",
                    "unit": "job",
                    "quantity": "1020",
                    "included": "1000",
                    "amount_cents": 100,
                },
                {
                    "resource": "storage",
                    "unit": "GB-month",
                    "quantity": "11",
                    "included": "10",
                    "amount_cents": 500,
                },
            ],
        },
    },
    response_only=True,
)
PLAN = OpenApiExample("The pro plan", value=_PLAN, response_only=True)
NOT_STAFF = problem_example(
    "Permission denied",
    status=403,
    code="permission_denied",
    detail="Your role (owner) does not allow this: it needs quotas:change.",
    required_permission="quotas:change",
)
EXCEEDED = problem_example(
    "Too many requests",
    status=429,
    code="rate_limited",
    detail="1000 requests an hour are allowed. Try again in 312 s.",
    limit=1000,
    remaining=0,
    reset=1_795_445_112,
)
