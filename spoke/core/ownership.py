"""Work on the schema, which only the database's owner may do."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Reconnects as the login role, without the runtime role and its time limits, and back."""
    runtime = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {
        name: value for name, value in runtime.items() if name not in ("assume_role", "options")
    }
    connection.close()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = runtime
