"""What Spoke reads from the environment. Settings are made of it; nothing else reads it.

`docs/configuration.md` is generated from the table by `manage.py document_settings`.
"""

from pathlib import Path
from typing import Any

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
DEVELOPMENT_SECRET = "development-only-secret-key-never-use-it-in-production"  # noqa: S105

# For each name: its type, its default and its meaning.
VARIABLES: dict[str, tuple[Any, Any, str]] = {
    "SPOKE_ENV": (str, "development", "`development`, `test` or `production`."),
    "SPOKE_SECRET_KEY": (
        str,
        DEVELOPMENT_SECRET,
        "Signs sessions and seals secrets kept for replay. At least 50 characters in production.",
    ),
    "SPOKE_SECRET_KEY_FALLBACKS": (list, [], "Former secret keys, still accepted while rotating."),
    "SPOKE_BASE_URL": (
        str,
        "http://127.0.0.1:8000",
        "The address people reach Spoke under; links in e-mails start with it.",
    ),
    "SPOKE_ALLOWED_HOSTS": (list, [], "Host names served, beside the one of SPOKE_BASE_URL."),
    "SPOKE_TRUSTED_PROXIES": (
        int,
        0,
        "Reverse proxies in front that append to X-Forwarded-For. 0: the header is ignored.",
    ),
    "DATABASE_URL": (
        str,
        "postgres://spoke@127.0.0.1:5432/spoke",
        "PostgreSQL 15 or later. Unset in development: the embedded server.",
    ),
    "DATABASE_ROLE": (
        str,
        "spoke_app",
        "The unprivileged role every process but `migrate` works under; row-level security binds it.",
    ),
    "DATABASE_STATEMENT_TIMEOUT_MS": (
        int,
        30_000,
        "Milliseconds after which a statement is ended.",
    ),
    "DATABASE_PREPARE": (
        bool,
        True,
        "Prepare hot statements once a connection; off behind a PgBouncer before 1.21.",
    ),
    "DATABASE_LOCK_TIMEOUT_MS": (int, 5_000, "Milliseconds a statement waits for a lock."),
    "REDIS_URL": (
        str,
        "redis://127.0.0.1:6379/0",
        "Redis 7 or Valkey, for limits, cache and Celery. Unset in development: the embedded server.",
    ),
    "QUOTA_RATE_LIMIT_FAIL_CLOSED": (
        bool,
        False,
        "True: refuse requests (503) while Redis is away, instead of serving under a local limit.",
    ),
    "PRINCIPAL_CACHE_SECONDS": (
        int,
        60,
        "How long a process remembers what a token may do; changes act at once all the same. 0: never.",
    ),
    "QUOTA_WEB_PROCESSES": (
        int,
        2,
        "Web processes in all; the local limit is an organization's limit divided by it.",
    ),
    "ANONYMOUS_RATE_LIMIT": (str, "30/m", "Requests by address on anonymous views."),
    "EMAIL_URL": (
        str,
        "filemail://",
        "`filemail://` (to .local/mail), `consolemail://`, `smtp://…`.",
    ),
    "MAIL_DIR": (str, str(BASE_DIR / ".local" / "mail"), "Folder of `filemail://`."),
    "DEFAULT_FROM_EMAIL": (str, "Spoke <noreply@spoke.example>", "The sender of every e-mail."),
    "STORAGE_DIR": (str, str(BASE_DIR / ".local" / "files"), "Folder that holds the pushed files."),
    "STORAGE_S3_BUCKET": (
        str,
        "",
        "Bucket that holds the pushed files instead; credentials come the way of AWS' tools.",
    ),
    "STORAGE_S3_ENDPOINT": (str, "", "Address of what speaks like S3. Unset: Amazon's."),
    "STORAGE_S3_REGION": (str, "", "Region of the bucket."),
    "LOG_FORMAT": (str, "console", "`console` or `json`."),
    "LOG_LEVEL": (str, "INFO", "The lowest level logged."),
    "METRICS_TOKEN": (
        str,
        "",
        "Bearer token for /metrics. Unset: private addresses only.",
    ),
    "WORKER_METRICS_PORT": (int, 0, "Port on which a worker serves its metrics, to all. 0: none."),
    "MAX_BODY_BYTES": (int, 1_048_576, "Largest JSON body, in bytes; larger ones get a 413."),
    "MAX_PUSH_BYTES": (int, 33_554_432, "Largest body that pushes a version, in bytes."),
    "MAX_EVENTS_BYTES": (int, 16_777_216, "Largest body that sends usage events, in bytes."),
    "COMPILE_TIMEOUT_SECONDS": (
        int,
        60,
        "Seconds, by the clock and of CPU, that a compiler may run.",
    ),
    "COMPILE_MEMORY_BYTES": (int, 1_073_741_824, "Memory that a compiler may take, in bytes."),
    "COMPILE_MAX_OUTPUT_BYTES": (
        int,
        268_435_456,
        "Most code that a compile job may generate, in bytes.",
    ),
    "COMPILE_JOBS_AT_ONCE": (
        int,
        4,
        "Compile jobs of one organization that run at the same time; the others wait their turn.",
    ),
    "COMPILE_ARTIFACT_DAYS": (
        int,
        30,
        "Days after its last use for which the archive of a compile job is kept.",
    ),
    "USAGE_EVENT_RETENTION_MONTHS": (
        int,
        13,
        "Whole months that single usage events are kept after the month of their receipt; at least 2.",
    ),
    "INVOICE_SELLER": (
        str,
        "SPK",
        "What invoice numbers begin with, as SPK-2026-000001; each seller counts by itself.",
    ),
    "INVOICE_FROM": (
        str,
        "Spoke",
        "Who invoices are from, as printed on them: name and address, lines separated by \\n.",
    ),
    "STRIPE_SECRET_KEY": (
        str,
        "",
        "Stripe's secret key. Unset: subscriptions and invoices are collected by hand.",
    ),
    "STRIPE_PUBLISHABLE_KEY": (str, "", "Stripe's publishable key, for pages that take cards."),
    "STRIPE_WEBHOOK_SECRETS": (
        list,
        [],
        "Signing secrets of webhooks that are valid beside those that stripe_setup keeps.",
    ),
    "STRIPE_API_HOST": (
        str,
        "",
        "Another server in Stripe's place, in development. Refused beside a live key.",
    ),
    "BILLING_DUNNING_DAYS": (
        list,
        ["3", "7", "14"],
        "Days after an invoice was overdue on which owners and admins are reminded, beside at once.",
    ),
    "BILLING_GRACE_DAYS": (
        int,
        14,
        "Days for which an organization with an overdue invoice can still be written to.",
    ),
    "BILLING_CARD_WARNING_DAYS": (
        int,
        30,
        "Days before the end of a card's last month from which owners and admins are told of it.",
    ),
    "INVOICE_SELLER_COUNTRY": (
        str,
        "US",
        "Where invoices are from, ISO 3166-1: decides about the reverse charge within the EU.",
    ),
    "STRIPE_TAX": (
        bool,
        False,
        "Stripe Tax reckons the tax of base prices, which must be set up at Stripe; else our own rates.",
    ),
    "INVOICE_DUE_DAYS": (int, 14, "Days in which an invoice is to be paid."),
}

env: Any = environ.Env(  # type: ignore[no-untyped-call]
    **{name: (kind, default) for name, (kind, default, _) in VARIABLES.items()}
)
