"""Running the same thing in real threads at once."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection


def at_once(number: int, work: Callable[[int], Any]) -> tuple[list[Any], list[Exception]]:
    """What `work(0)` … returned, and what it raised; all start together."""
    barrier = threading.Barrier(number)
    results: list[Any] = []
    errors: list[Exception] = []

    def run(index: int) -> None:
        try:
            barrier.wait()
            results.append(work(index))
        except Exception as exc:  # noqa: BLE001 - the test judges it
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, errors
