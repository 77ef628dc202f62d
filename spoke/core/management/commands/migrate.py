"""`migrate`, run as the database's owner: the runtime role may not change the schema."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from spoke.core import tenancy
from spoke.core.ownership import as_owner


class Command(migrate.Command):
    """Django's own command; two deployments at once take turns."""

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        with as_owner(connection):
            with connection.cursor() as cursor:
                # Ends with the connection.
                cursor.execute("SELECT pg_advisory_lock(hashtext('spoke.migrate'))")
            tenancy.prepare_runtime_role()
            super().handle(*args, **options)
