"""The servers there are, by name, and the variables that put one of your own in their place."""

from .postgres import Postgres
from .server import Server
from .valkey import Valkey

SERVERS: dict[str, type[Server]] = {"postgres": Postgres, "valkey": Valkey}
VARIABLES = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
