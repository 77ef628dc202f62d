"""Logs: one line a record, as JSON or for people, with nothing secret in it."""

from typing import Any

import structlog

from spoke.celery import TIMETABLE
from spoke.core.idle_log import IdleFilter
from spoke.core.redaction import redact_line
from spoke.environment import env

SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
LOG_RENDERERS: dict[str, list[Any]] = {
    "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
    "console": [
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    ],
}
# What is said again when the task ends, or is nothing.
REPETITION = "DEBUG" if env("LOG_LEVEL") == "DEBUG" else "WARNING"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *LOG_RENDERERS[env("LOG_FORMAT")],
                redact_line,
            ],
            "foreign_pre_chain": SHARED_PROCESSORS,
        }
    },
    "filters": {"idle": {"()": IdleFilter, "timetable": TIMETABLE}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": env("LOG_LEVEL")},
    "loggers": {
        # A refused request is the client's affair; the request log has it already.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # Its own handler would write addresses with secrets; the request log has every request.
        "django.server": {"handlers": [], "level": "ERROR", "propagate": True},
        "celery.beat": {"level": REPETITION},
        "celery.worker.strategy": {"level": REPETITION},
        "django_structlog.celery.receivers": {"level": REPETITION},
        "celery.app.trace": {"filters": ["idle"]},
        # Tells of every call and answer.
        "stripe": {"level": "WARNING"},
        # Tells of every glyph that a PDF takes.
        "fontTools": {"level": "WARNING"},
    },
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *SHARED_PROCESSORS,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
