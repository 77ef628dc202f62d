"""Periodic work that found nothing to do is not told of: every few seconds, it drowned the rest."""

import logging
from collections.abc import Mapping
from typing import Any

# How Celery writes the results of tasks that did nothing.
NOTHING = frozenset({"0", "None", "False", "[]", "()", "{}"})


class IdleFilter(logging.Filter):
    """Drops the end of a task of the timetable that returned nothing, but at DEBUG."""

    def __init__(self, timetable: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self.periodic = frozenset(entry["task"] for entry in timetable.values())

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.args
        if record.levelno != logging.INFO or not isinstance(told, Mapping):
            return True
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            return True
        return told.get("name") not in self.periodic or told.get("return_value") not in NOTHING
