"""Starting work in the background where the answer does not depend on it."""

from typing import Any

import structlog
from celery.app.task import Task
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)


def enqueue_on_commit(task: "Task[..., Any]", *args: object) -> None:
    """Starts the task once the transaction under way has committed.

    What is committed stands: with Redis away the loss is logged with the task's name, and the caller
    has another way to have the work done.
    """

    def start() -> None:
        try:
            task.delay(*args)
        except (OperationalError, RedisError) as exc:
            logger.error("task.not_enqueued", task=task.name, error=type(exc).__name__)

    transaction.on_commit(start)
