"""A cursor for the few statements that are long and hot, and what PostgreSQL takes for the same."""

import json
from typing import Any

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper


def prepared_cursor() -> CursorWrapper:
    """A cursor whose statements PostgreSQL parses and plans once a connection, not once a call.

    Django's own binds parameters into the text. Parameters need a type that PostgreSQL can tell; with
    DATABASE_PREPARE off, they are bound by the server and nothing is kept.
    """
    connection.ensure_connection()
    bind: Any = ServerBindingCursor
    cursor = bind(connection.connection)
    logged = connection.queries_logged
    return connection.make_debug_cursor(cursor) if logged else connection.make_cursor(cursor)


def is_same_json(one: object, other: object) -> bool:
    """Whether two values are stored as the same JSON: `1` and `true` are equal in Python alone."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
