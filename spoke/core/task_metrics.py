"""What workers tell operators of tasks, and where."""

import time
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_init
from django.conf import settings
from prometheus_client import Histogram, start_http_server

from spoke.core.metrics import counted

SECONDS = Histogram(
    "spoke_task_seconds",
    "Seconds that a task ran, by its name and how it ended.",
    ["task", "state"],
    buckets=(0.01, 0.1, 0.5, 1, 5, 30, 120),
)


@task_prerun.connect
def begin(task: Any, **rest: Any) -> None:
    """Notes when a task began."""
    task.request.began = time.monotonic()


@task_postrun.connect
def end(task: Any, state: str | None, **rest: Any) -> None:
    """Counts a task that ended; `state` is Celery's."""
    SECONDS.labels(task.name, state or "LOST").observe(time.monotonic() - task.request.began)


@worker_init.connect
def serve(**rest: Any) -> None:
    """A worker serves its metrics, and those of its pool, where WORKER_METRICS_PORT says so."""
    if settings.WORKER_METRICS_PORT:
        start_http_server(settings.WORKER_METRICS_PORT, registry=counted())
