"""Starting work in the background where the answer does not depend on it."""

from typing import Any

import structlog
from celery.app.task import Task
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from spoke.core import valkey

logger = structlog.get_logger(__name__)


def enqueue_on_commit(task: "Task[..., Any]", *args: object) -> None:
    """Starts the task once the transaction under way has committed.

    What is committed stands: with Redis away the loss is logged with the task's name, and the caller
    has another way to have the work done. Where Redis does not answer, the task waits in memory until it
    does, and the caller does not.
    """

    def start() -> None:
        try:
            # In vain for a quarter of a second at most; the broker's client takes some.
            valkey.call(valkey.request_client(), "PING")
            task.delay(*args)
        except (OperationalError, RedisError) as exc:
            if valkey.afterwards(start):
                logger.warning("task.waits", task=task.name)
            else:
                logger.error("task.not_enqueued", task=task.name, error=type(exc).__name__)

    transaction.on_commit(start)
