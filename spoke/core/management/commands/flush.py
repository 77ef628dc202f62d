"""`flush`, run as the database's owner: the runtime role may not truncate."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from spoke.core.ownership import as_owner


class Command(flush.Command):
    """Django's own command."""

    def handle(self, **options: Any) -> None:
        with as_owner(connections[options["database"]]):
            super().handle(**options)
