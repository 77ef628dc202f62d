"""What PostgreSQL and Valkey have, read from outside of Spoke."""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from redis import Redis

SHARDS = 64
IN_PERIODS = """
SELECT org_id, sum(used)::bigint FROM quotas_periodusage WHERE resource = 'api_requests' GROUP BY 1
"""
IN_BUCKETS = """
SELECT org_id, sum(used)::bigint FROM quotas_usagebucket WHERE resource = 'api_requests' GROUP BY 1
"""
EVENTS = """
SELECT e.org_id, m.code, count(*), sum(e.quantity)::bigint
FROM quotas_usageevent e JOIN quotas_meter m ON m.id = e.meter_id GROUP BY 1, 2
"""
ROLLED = """
SELECT b.org_id, m.code, sum(b.events)::bigint, sum(b.total)::bigint
FROM quotas_meterbucket b JOIN quotas_meter m ON m.id = b.meter_id WHERE b.span = %s GROUP BY 1, 2
"""
COMPILE_JOBS = """
SELECT org_id, sum(used)::bigint FROM quotas_periodusage WHERE resource = 'compile_jobs' GROUP BY 1
"""
Events = dict[tuple[int, str], tuple[int, int]]


@dataclass(frozen=True)
class Waiting:
    """What of the counted requests is still in Valkey: live counts, and generations set aside."""

    live: int
    claimed: int
    # Set aside, yet in PostgreSQL already: the flush died between its commit and the clearing.
    written: int

    def __bool__(self) -> bool:
        return bool(self.live or self.claimed)


class Books:
    """Reads them; both connections are opened anew whenever they broke."""

    def __init__(self, conninfo: str, redis_url: str) -> None:
        self.sql = psycopg.connect(conninfo, autocommit=True)
        self.sql.execute("SET spoke.everything = 'on'")
        self.redis = Redis.from_url(redis_url, socket_timeout=5)

    def close(self) -> None:
        self.sql.close()
        self.redis.close()

    def generations(self) -> int:
        """How many batches of counted requests were written, ever."""
        row = self.sql.execute("SELECT count(*) FROM quotas_flushedgeneration").fetchone()
        assert row is not None
        return int(row[0])

    def waiting(self) -> Waiting:
        pipeline = self.redis.pipeline(transaction=True)
        for shard in range(SHARDS):
            pipeline.exists(f"spoke:{{{shard}}}:requests")
            pipeline.smembers(f"spoke:{{{shard}}}:claimed")
        found = pipeline.execute()
        names = [
            f"{shard}:{name.decode()}" for shard, some in enumerate(found[1::2]) for name in some
        ]
        written = self.sql.execute(
            "SELECT count(*) FROM quotas_flushedgeneration WHERE generation = ANY(%s)", [names]
        ).fetchone()
        assert written is not None
        return Waiting(sum(found[::2]), len(names), int(written[0]))

    def taken_by_valkey(self, org_ids: Iterable[int]) -> Counter[int]:
        """Requests of the last hour by organization, as the limiter's state says (rate_limit.lua)."""
        taken: Counter[int] = Counter()
        for org_id in org_ids:
            state = self.redis.get(f"spoke:{{{org_id % SHARDS}}}:limit:{org_id}")
            if isinstance(state, bytes):
                taken[org_id] = struct.unpack_from(">III", state)[2]
        return taken

    def counted_requests(self) -> Counter[int]:
        """API requests by organization."""
        return Counter(dict(self._rows(IN_PERIODS)))

    def requests_in_hours(self) -> Counter[int]:
        """The same, from the other table that they are written to."""
        return Counter(dict(self._rows(IN_BUCKETS)))

    def events(self) -> Events:
        return self._events(EVENTS)

    def rolled_up(self, span: str) -> Events:
        return self._events(ROLLED, [span])

    def compile_jobs(self) -> dict[int, int]:
        return dict(self._rows(COMPILE_JOBS))

    def _events(self, statement: str, parameters: Iterable[object] = ()) -> Events:
        rows = self._rows(statement, parameters)
        return {(org, meter): (number, total) for org, meter, number, total in rows}

    def _rows(self, statement: str, parameters: Iterable[object] = ()) -> list[tuple]:
        return self.sql.execute(statement.encode(), list(parameters)).fetchall()
