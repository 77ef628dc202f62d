"""Real threads, each with its own connection, that start at one moment."""

from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import Any

from django.db import connection


def run_together(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each work returned, in order; the first exception of any is raised."""
    barrier = Barrier(len(works))
    results: list[Any] = [None] * len(works)
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait(30)
            results[index] = works[index]()
        except BaseException as exc:  # noqa: BLE001 - raised again below
            failures.append(exc)
        finally:
            connection.close()

    threads = [Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if failures:
        raise failures[0]
    return results
