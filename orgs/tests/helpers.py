"""What several tests of this app need."""

import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from allauth.account.models import EmailAddress
from django.db import connection

from orgs.models import AuditEvent, User
from tests.factories import UserFactory


def new_user(email: str) -> User:
    """A user with the password `correct horse battery` and no verified address."""
    return cast("User", UserFactory(email=email))


def found(pattern: str, text: object) -> str:
    """The first group, or else the whole, of a pattern that must be in the text."""
    match = re.search(pattern, str(text), re.MULTILINE)
    assert match is not None, (pattern, text)
    return match[match.lastindex or 0]


def verify(user: User, email: str = "", *, verified: bool = True) -> EmailAddress:
    """Gives the user an address (their own unless said), verified unless said."""
    email = email or user.email
    return EmailAddress.objects.create(
        user=user, email=email, verified=verified, primary=email == user.email
    )


def audited(org: Any, prefix: str) -> list[tuple[str, str, str]]:
    """(action, actor, target) of the organization's events of a kind, oldest first."""
    events = AuditEvent.objects.filter(org=org, action__startswith=prefix).order_by("pk")
    return [(e.action, e.actor_label, f"{e.target_type}:{e.target_id}") for e in events]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls made by as many threads at the same moment, each on its own connection."""
    barrier = threading.Barrier(len(calls), timeout=10)
    results: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            results[index] = call()
        except Exception as exc:  # noqa: BLE001 - the assertion of the test shows it
            results[index] = exc
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(i, call)) for i, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@contextmanager
def log_lines() -> Iterator[io.StringIO]:
    """Everything logged at INFO and above, as the configured formatter writes it."""
    root = logging.getLogger()
    configured = next(h for h in root.handlers if type(h) is logging.StreamHandler)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(configured.formatter)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
