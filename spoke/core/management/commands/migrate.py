"""`migrate`, run as the database's owner: the runtime role may not change the schema."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from spoke.core import tenancy
from spoke.core.ownership import as_owner


class Command(migrate.Command):
    """Django's own command; two deployments at once take turns."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        # Around everything, the system checks too: before the first migration there is no role.
        with as_owner(connections[options["database"]]):
            return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        with connections[options["database"]].cursor() as cursor:
            # Ends with the connection.
            cursor.execute("SELECT pg_advisory_lock(hashtext('spoke.migrate'))")
        tenancy.prepare_runtime_role()
        super().handle(*args, **options)
