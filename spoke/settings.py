"""All settings, made of the environment (`spoke.environment`) with working defaults for `make run`.

System checks (`spoke.core.checks`) refuse to start production with a development default.
"""

import logging
from importlib.util import find_spec
from urllib.parse import urlsplit

# Loaded with the settings, so that every process with Django enqueues to it.
from spoke.celery import app as celery_app  # noqa: F401
from spoke.environment import BASE_DIR, DEVELOPMENT_SECRET, VARIABLES, env  # noqa: F401
from spoke.logs import LOGGING  # noqa: F401

CONFIGURED = frozenset(name for name in VARIABLES if name in env.ENVIRON)
SPOKE_ENV = env("SPOKE_ENV")
PRODUCTION = SPOKE_ENV == "production"
DEBUG = False
SECRET_KEY = env("SPOKE_SECRET_KEY")
SECRET_KEY_FALLBACKS = env("SPOKE_SECRET_KEY_FALLBACKS")
SPOKE_BASE_URL = env("SPOKE_BASE_URL").rstrip("/")
SPOKE_TRUSTED_PROXIES = env("SPOKE_TRUSTED_PROXIES")
ALLOWED_HOSTS = [urlsplit(SPOKE_BASE_URL).hostname or "", *env("SPOKE_ALLOWED_HOSTS")]
if not PRODUCTION:
    ALLOWED_HOSTS += ["127.0.0.1", "localhost", "[::1]", "testserver"]
CSRF_TRUSTED_ORIGINS = [SPOKE_BASE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SPOKE_BASE_URL.startswith("https://")
SESSION_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SPOKE_TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if SESSION_COOKIE_SECURE else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# The demo, and tools that are used where they are installed: never in production.
DEVELOPMENT_APPS = [
    name
    for name in ("spoke.demo", "django_linear_migrations", "django_migration_linter")
    if not PRODUCTION and find_spec(name)
]
INSTALLED_APPS = [
    "spoke.core",
    "orgs",
    "quotas",
    "registry",
    "billing",
    # After billing, whose command of the same name goes before.
    "djstripe",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.headless",
    "rest_framework",
    "drf_standardized_errors",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_prometheus",
    "django_structlog",
    *DEVELOPMENT_APPS,
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "spoke.core.middleware.RequestIdMiddleware",
    "spoke.core.middleware.RequestLogMiddleware",
    "spoke.core.middleware.OutageMiddleware",
    "spoke.core.middleware.LengthRequiredMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "spoke.core.middleware.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "spoke.core.middleware.AnonymousRateLimitMiddleware",
    "spoke.core.middleware.AdminTenancyMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "spoke.urls"
WSGI_APPLICATION = "spoke.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"pages": "spoke.pages.filters"},
        },
    }
]

# --- data -----------------------------------------------------------------------------------
DATABASE_ROLE = env("DATABASE_ROLE")
DATABASE = env.db("DATABASE_URL")
DATABASES = {
    "default": {
        **DATABASE,
        "ENGINE": "django.db.backends.postgresql",
        # One persistent connection a thread: closing it per request costs most of the throughput.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            **DATABASE.get("OPTIONS", {}),  # sslmode and the like, from the URL
            "assume_role": DATABASE_ROLE,
            "connect_timeout": 5,
            # Uses after which a statement of `spoke.core.database.prepared_cursor` is prepared.
            "prepare_threshold": 3 if env("DATABASE_PREPARE") else None,
            "application_name": "spoke",
            "options": (
                f"-c statement_timeout={env('DATABASE_STATEMENT_TIMEOUT_MS')}"
                f" -c lock_timeout={env('DATABASE_LOCK_TIMEOUT_MS')}"
                " -c idle_in_transaction_session_timeout=60000"
            ),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL: str = env("REDIS_URL")
QUOTA_RATE_LIMIT_FAIL_CLOSED: bool = env("QUOTA_RATE_LIMIT_FAIL_CLOSED")
PRINCIPAL_CACHE_SECONDS: int = env("PRINCIPAL_CACHE_SECONDS")
QUOTA_WEB_PROCESSES: int = env("QUOTA_WEB_PROCESSES")
# Less than two months would lose raw events that may still be sent again or recounted.
USAGE_EVENT_RETENTION_MONTHS: int = max(env("USAGE_EVENT_RETENTION_MONTHS"), 2)
STRIPE_SECRET_KEY: str = env("STRIPE_SECRET_KEY")
STRIPE_PUBLISHABLE_KEY: str = env("STRIPE_PUBLISHABLE_KEY")
STRIPE_WEBHOOK_SECRETS: list[str] = env("STRIPE_WEBHOOK_SECRETS")
# The version whose shapes billing.stripe reads; webhook endpoints are made with it too.
STRIPE_API_VERSION = "2026-05-27.dahlia"
# dj-stripe mirrors Stripe's objects; an organization is what subscribes.
STRIPE_LIVE_MODE = "_live_" in STRIPE_SECRET_KEY
STRIPE_LIVE_SECRET_KEY = STRIPE_SECRET_KEY if STRIPE_LIVE_MODE else ""
STRIPE_TEST_SECRET_KEY = "" if STRIPE_LIVE_MODE else STRIPE_SECRET_KEY
STRIPE_PUBLIC_KEY = STRIPE_PUBLISHABLE_KEY
DJSTRIPE_SUBSCRIBER_MODEL = "orgs.Organization"
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
# Ours refuses where it warns: spoke.core.checks.
SILENCED_SYSTEM_CHECKS = ["djstripe.W002"]
# Its own migrations take a minute on an empty database; ours make the tables of the pinned version.
MIGRATION_MODULES: dict[str, str | None] = {"djstripe": "billing.stripe.mirror_migrations"}
if host := env("STRIPE_API_HOST"):
    # dj-stripe asks whether the name is there at all.
    STRIPE_API_HOST: str = host
BILLING_DUNNING_DAYS: list[int] = sorted(int(day) for day in env("BILLING_DUNNING_DAYS"))
BILLING_GRACE_DAYS: int = env("BILLING_GRACE_DAYS")
BILLING_CARD_WARNING_DAYS: int = env("BILLING_CARD_WARNING_DAYS")
INVOICE_SELLER = env("INVOICE_SELLER")
INVOICE_FROM: str = env("INVOICE_FROM").replace("\\n", "\n")
INVOICE_DUE_DAYS = env("INVOICE_DUE_DAYS")
INVOICE_SELLER_COUNTRY: str = env("INVOICE_SELLER_COUNTRY").upper()
STRIPE_TAX: bool = env("STRIPE_TAX")


def redis_database(number: int) -> str:
    """REDIS_URL with another database number, for the cache beside the limiter's own keys."""
    if REDIS_URL.startswith("unix://"):
        return f"{REDIS_URL.split('?')[0]}?db={number}"
    parts = urlsplit(REDIS_URL)
    return parts._replace(path=f"/{number}").geturl()


CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_database(1),
        "KEY_PREFIX": "spoke",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    },
}
STORAGE_S3 = {name: env(f"STORAGE_S3_{name.upper()}") for name in ("bucket", "endpoint", "region")}
STORAGES = {
    "default": {"BACKEND": "registry.object_storage.ObjectStorage", "OPTIONS": STORAGE_S3}
    if STORAGE_S3["bucket"]
    else {
        "BACKEND": "registry.storage.AtomicFileSystemStorage",
        "OPTIONS": {"location": env("STORAGE_DIR")},
    },
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = False
METRICS_TOKEN: str = env("METRICS_TOKEN")
WORKER_METRICS_PORT: int = env("WORKER_METRICS_PORT")
MAX_BODY_BYTES = env("MAX_BODY_BYTES")
MAX_PUSH_BYTES = env("MAX_PUSH_BYTES")
MAX_EVENTS_BYTES = env("MAX_EVENTS_BYTES")
COMPILE_TIMEOUT_SECONDS: int = env("COMPILE_TIMEOUT_SECONDS")
COMPILE_MEMORY_BYTES: int = env("COMPILE_MEMORY_BYTES")
COMPILE_MAX_OUTPUT_BYTES: int = env("COMPILE_MAX_OUTPUT_BYTES")
COMPILE_JOBS_AT_ONCE: int = env("COMPILE_JOBS_AT_ONCE")
COMPILE_ARTIFACT_DAYS: int = env("COMPILE_ARTIFACT_DAYS")
DATA_UPLOAD_MAX_MEMORY_SIZE = max(MAX_PUSH_BYTES, MAX_EVENTS_BYTES)

# --- people ---------------------------------------------------------------------------------
AUTH_USER_MODEL = "orgs.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# Codes, not links: they work alike in the pages and for clients of the sign-in API.
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(SPOKE_BASE_URL).scheme
ACCOUNT_ADAPTER = "orgs.web.adapter.AccountAdapter"
MFA_TOTP_ISSUER = "Spoke"
HEADLESS_CLIENTS = ("app",)
# A client that has no page of its own sends people to ours.
HEADLESS_FRONTEND_URLS = {
    "account_signup": f"{SPOKE_BASE_URL}/accounts/signup/",
    "account_reset_password": f"{SPOKE_BASE_URL}/accounts/password/reset/",
}
LOGIN_REDIRECT_URL = "/app/"
ANONYMOUS_RATE_LIMIT = env("ANONYMOUS_RATE_LIMIT")
RATELIMIT_FAIL_OPEN = True
RATELIMIT_IP_META_KEY = "spoke.core.http.client_address"

EMAIL_URL = env("EMAIL_URL")
vars().update(env.email_url("EMAIL_URL"))
EMAIL_FILE_PATH = env("MAIL_DIR")
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL")

# --- API ------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "orgs.api.auth.TokenAuthentication",
        "orgs.api.auth.AppSessionAuthentication",
        "orgs.api.auth.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["quotas.api.throttling.GovernedThrottle"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "spoke.core.renderers.ContentNegotiation",
    "DEFAULT_RENDERER_CLASSES": ["spoke.core.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["spoke.core.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "spoke.core.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "spoke.core.schema.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    # One representation each: `format` in a query is an endpoint's own parameter, or unknown.
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "UNICODE_JSON": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "spoke.core.problem.ProblemHandler",
    "EXCEPTION_FORMATTER_CLASS": "spoke.core.problem.ProblemFormatter",
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Spoke API",
    "VERSION": "1",
    "DESCRIPTION": "Organizations, quotas, usage, billing and the schema registry of Spoke.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "MemberRoleEnum": "orgs.models.member.ROLE_CHOICES",
        "OrganizationStatusEnum": "orgs.models.OrganizationStatus",
        "InvitationStatusEnum": "orgs.models.InvitationStatus",
        "TokenStatusEnum": "orgs.models.TokenStatus",
        "InvoiceStatusEnum": "billing.models.InvoiceStatus",
        "SubscriptionStatusEnum": "billing.models.SubscriptionStatus",
        "CreditNoteKindEnum": "billing.models.NoteKind",
        "CreditNoteStatusEnum": "billing.models.NoteStatus",
        "LineKindEnum": "billing.models.LineKind",
        "TransferStatusEnum": "orgs.models.TransferStatus",
        "PeriodStatusEnum": ["open", "closed"],
        "BulkResultEnum": ["ok", "error"],
        "ResourceEnum": "quotas.models.plan.RESOURCE_CHOICES",
        "AlertedResourceEnum": "quotas.models.alert.ALERTED_CHOICES",
        "HoldableResourceEnum": ["compile_jobs", "storage"],
        "CheckableResourceEnum": ["modules", "storage", "compile_jobs", "api_requests"],
    },
}

# --- background work ------------------------------------------------------------------------
CELERY_BROKER_URL = (
    "redis+socket://" + REDIS_URL.removeprefix("unix://").split("?")[0] + "?virtual_host=0"
    if REDIS_URL.startswith("unix://")
    else REDIS_URL
)
CELERY_TASK_IGNORE_RESULT = True
# A task is acknowledged when done, so that a killed worker's task runs again.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 900, "socket_timeout": 5}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A request waits no longer for a broker that hangs: once more is for a connection that had gone stale.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.2}
CELERY_BEAT_SCHEDULER = "spoke.beat:OnceScheduler"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "orgs.tasks.send_*": {"queue": "email"},
    "quotas.mail_tasks.*": {"queue": "email"},
    "quotas.tasks.*": {"queue": "metering"},
    "billing.tasks.*": {"queue": "billing"},
    "registry.tasks.run_compile_job": {"queue": "compile"},
}
QUEUES = sorted(
    {CELERY_TASK_DEFAULT_QUEUE, *(route["queue"] for route in CELERY_TASK_ROUTES.values())}
)
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.INFO
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
# Of the admin: 2026-11-26 09:30:00.
FORMAT_MODULE_PATH = "spoke.formats"
SITE_NAME = "Spoke"

UNFOLD = {
    "SITE_TITLE": "Spoke",
    "SITE_HEADER": "Spoke",
    "SITE_SUBHEADER": "Times are UTC",
    "SITE_SYMBOL": "hub",
    # None: without it browsers ask for /favicon.ico.
    "SITE_FAVICONS": [{"rel": "icon", "href": "data:,"}],
    "SIDEBAR": {"show_search": True},
}
