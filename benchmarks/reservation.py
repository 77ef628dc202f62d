"""Reserving what is limited, beside what one would write first: 16 clients, each with a connection.

    python benchmarks/reservation.py [--write] [--seconds 1.0] [--rounds 7]

Every transaction reserves one module and inserts a row for it. Clients are processes, so that no
interpreter lock decides. Ours replays what `reserve()` sends, under the runtime role and in its scope,
once prepared, as Spoke does, and once as text that is parsed and planned each time, as the others do.
"""

import argparse
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import psycopg
from _harness import interleaved, own_database, ratio, report, table
from psycopg.pq import ExecStatus

CLIENTS, MANY = 16, 1_000
PLENTY = 10**12
# So that those who ask at once for what is left of a small limit pass it, if anything lets them.
RACES, SMALL = 100, 5
ROWS = (1_000, 100_000)

TABLES = """
CREATE TABLE {0}_quota (org_id bigint PRIMARY KEY, used bigint NOT NULL, cap bigint NOT NULL);
CREATE TABLE {0}_module (
    id bigserial PRIMARY KEY, org_id bigint NOT NULL, name varchar(100) NOT NULL,
    description text NOT NULL, is_public boolean NOT NULL, revision integer NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, UNIQUE (org_id, name));
CREATE TABLE {0}_history (
    org_id bigint, at timestamptz, used bigint NOT NULL, PRIMARY KEY (org_id, at));
GRANT SELECT, INSERT, UPDATE ON {0}_quota, {0}_module, {0}_history TO spoke_app;
GRANT USAGE ON {0}_module_id_seq TO spoke_app;
"""
AUDIT = """
CREATE TABLE audit_{0} (
    id bigserial PRIMARY KEY, org_id bigint NOT NULL, action varchar(100) NOT NULL,
    at timestamptz NOT NULL, data jsonb NOT NULL);
CREATE INDEX ON audit_{0} (org_id, at);
GRANT SELECT, INSERT ON audit_{0} TO spoke_app; GRANT USAGE ON audit_{0}_id_seq TO spoke_app;
"""
# Rows that stay within the hour however long the benchmark takes.
FILL_AUDIT = """
INSERT INTO audit_{0} (org_id, action, at, data)
SELECT org_id, 'module.created', now() + interval '1 hour' - n * interval '1 millisecond', '{{}}'
FROM unnest(%s::bigint[]) org_id, generate_series(1, {0}) n
"""
MODULE = """
INSERT INTO {} (org_id, name, description, is_public, revision, created_at, updated_at)
VALUES (%(org_id)s, %(name)s, '', false, 1, %(now)s, %(now)s) RETURNING id
"""
FOR_UPDATE = "SELECT used, cap FROM {}_quota WHERE org_id = %(org_id)s FOR UPDATE"
READ = "SELECT used, cap FROM {}_quota WHERE org_id = %(org_id)s"
ADD = "UPDATE {}_quota SET used = used + 1 WHERE org_id = %(org_id)s"
ADD_BELOW_CAP = f"{ADD} AND used < cap"
NOTE = """
INSERT INTO {0}_history (org_id, at, used)
SELECT org_id, %(now)s, used FROM {0}_quota WHERE org_id = %(org_id)s
ON CONFLICT (org_id, at) DO UPDATE SET used = EXCLUDED.used
"""
COUNT = "SELECT count(*) FROM {} WHERE org_id = %(org_id)s AND at > now() - interval '1 hour'"
# Written as two hours old: it costs the same, and the hour keeps its size while this runs.
AUDITED = """
INSERT INTO {} (org_id, action, at, data)
VALUES (%(org_id)s, 'module.created', %(now)s - interval '2 hours', '{{"name": "m"}}')
"""


# Stand in a statement's text for what changes from transaction to transaction.
ORG, NAME = 987_654_321_987_654, "name-of-the-module"
NOW = datetime(2001, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def capture(org_id: int) -> list[tuple[str, dict[str, Any]]]:
    """Reserves once through the service, and takes down what it sends to PostgreSQL."""
    from django.db import connection

    from quotas.resources import Resource
    from quotas.services.reservations import reserve
    from spoke.core import tenancy

    sent: list[tuple[str, dict[str, Any]]] = []

    def note(execute, sql, params, many, context):
        marks = {"org_id": ORG, "now": NOW, "hour": HOUR}
        sent.append((sql, {**params, **{name: marks[name] for name in marks if name in params}}))
        return execute(sql, params, many, context)

    with tenancy.organization(org_id), connection.execute_wrapper(note):
        reserve(org_id=org_id, resource=Resource.MODULES, amount=1, now=datetime.now(UTC))
    return sent


class Client:
    """One connection, and every way of reserving. Each way says whether it got what it asked for.

    Statements are sent as ready text straight through libpq: what the interpreter does is no part of
    what is compared.
    """

    def __init__(self, conninfo: str, reserving: list[tuple[str, dict[str, Any]]]) -> None:
        from quotas.services.limits import EFFECTIVE

        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.connection.execute("SET ROLE spoke_app")
        self.cursor = psycopg.ClientCursor(self.connection)
        self.marks = [self.written(mark) for mark in (ORG, NOW, HOUR)]
        self.texts: dict[str, bytes] = {}
        self.reserving = [self.cursor.mogrify(*sent).encode() for sent in reserving]
        self.prepared = [self._prepare(n, text) for n, text in enumerate(self.reserving)]
        parameters = reserving[-1][1]
        self.cap = self.cursor.mogrify(f"WITH {EFFECTIVE} SELECT cap FROM effective", parameters)
        self.names = (f"m{os.getpid()}-{n}".encode() for n in itertools.count())
        self.ways: dict[str, Callable[[int], bool]] = {
            "ours": lambda org_id: self.ours(org_id, self.reserving),
            "prepared": lambda org_id: self.ours(org_id, self.prepared),
            "for update": self.for_update,
            "for update, same duties": self.for_update_same_duties,
            "check": self.check_then_insert,
            "two statements": self.two_statements,
            **{f"history {rows}": self._with_history(f"audit_{rows}") for rows in ROWS},
        }

    def run(self, way: str, org_ids: list[int], seconds: float, start: int) -> int:
        """As many transactions as fit; how many they were."""
        work, done, end = self.ways[way], 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            assert work(org_ids[(start + done * CLIENTS) % len(org_ids)])
            done += 1
        return done

    def race(self, way: str, org_ids: list[int]) -> int:
        """Asks once in each organization in turn, as all the others do."""
        return sum(self.ways[way](org_id) for org_id in org_ids)

    def written(self, value: Any) -> bytes:
        """A value as it stands in a statement."""
        return self.cursor.mogrify("%s", [value]).encode()

    def _prepare(self, number: int, text: bytes) -> bytes:
        for position, mark in enumerate(self.marks, start=1):
            text = text.replace(mark, b"$%d" % position)
        kinds = b"bigint, timestamptz, timestamptz"
        self.connection.execute(b"PREPARE reserve_%d (%b) AS %b" % (number, kinds, text))
        return b"EXECUTE reserve_%d (%b)" % (number, b", ".join(self.marks))

    def send(self, text: bytes, org_id: int) -> Any:
        """The text, for this organization and at this time."""
        now = datetime.now(UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        org, time_, hour_ = self.marks
        text = text.replace(org, b"%d" % org_id).replace(
            time_, b"'%b'::timestamptz" % str(now).encode()
        )
        text = text.replace(hour_, b"'%b'::timestamptz" % str(hour).encode())
        result = self.connection.pgconn.exec_(text)
        assert result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK), result.error_message
        return result

    def ask(self, statement: str, org_id: int) -> Any:
        """The first row's numbers; where there are no rows, how many were changed."""
        text = self.texts.get(statement)
        if text is None:
            marks = {"org_id": ORG, "now": NOW, "name": NAME}
            text = self.texts[statement] = self.cursor.mogrify(statement, marks).encode()
        result = self.send(text.replace(NAME.encode(), next(self.names)), org_id)
        if not result.nfields:
            return result.command_tuples
        return (
            [int(result.get_value(0, n)) for n in range(result.nfields)] if result.ntuples else None
        )

    def end(self, kept: bool) -> bool:
        self.connection.pgconn.exec_(b"COMMIT" if kept else b"ROLLBACK")
        return kept

    def begin(self) -> None:
        self.connection.pgconn.exec_(b"BEGIN")

    def begin_scoped(self, org_id: int) -> None:
        from spoke.core.tenancy import Scope, _statement

        result = self.connection.pgconn.exec_(f"BEGIN;{_statement(Scope(org_id=org_id))}".encode())
        assert result.ntuples == 1, result.error_message

    def ours(self, org_id: int, texts: list[bytes]) -> bool:
        self.begin_scoped(org_id)
        kept = all([self.send(text, org_id).ntuples for text in texts][-1:])
        if kept:
            self.ask(MODULE.format("registry_module"), org_id)
        return self.end(kept)

    def for_update(self, org_id: int) -> bool:
        self.begin()
        used, cap = self.ask(FOR_UPDATE.format("peer"), org_id)
        if used < cap:
            self.ask(ADD.format("peer"), org_id)
            self.ask(MODULE.format("peer_module"), org_id)
        return self.end(used < cap)

    def for_update_same_duties(self, org_id: int) -> bool:
        self.begin_scoped(org_id)
        cap = int(self.send(self.cap.encode(), org_id).get_value(0, 0))
        used, _ = self.ask(FOR_UPDATE.format("guarded"), org_id)
        if used < cap:
            self.ask(ADD.format("guarded"), org_id)
            self.ask(NOTE.format("guarded"), org_id)
            self.ask(MODULE.format("guarded_module"), org_id)
        return self.end(used < cap)

    def check_then_insert(self, org_id: int) -> bool:
        self.begin()
        used, cap = self.ask(READ.format("peer"), org_id)
        if used < cap:
            self.ask(MODULE.format("peer_module"), org_id)
            self.ask(ADD.format("peer"), org_id)
        return self.end(used < cap)

    def two_statements(self, org_id: int) -> bool:
        self.begin()
        kept = self.ask(ADD_BELOW_CAP.format("peer"), org_id) == 1
        if kept:
            self.ask(MODULE.format("peer_module"), org_id)
        return self.end(kept)

    def _with_history(self, audit: str) -> Callable[[int], bool]:
        def reserve(org_id: int) -> bool:
            self.begin()
            used, cap = self.ask(READ.format("peer"), org_id)
            self.ask(COUNT.format(audit), org_id)
            if used < cap:
                self.ask(ADD.format("peer"), org_id)
                self.ask(AUDITED.format(audit), org_id)
                self.ask(MODULE.format("peer_module"), org_id)
            return self.end(used < cap)

        return reserve


class Clients:
    """Processes that do the same at once."""

    def __init__(self, conninfo: str, reserving: list[Any]) -> None:
        from django.db import connections

        connections.close_all()  # none is shared with the children
        context = multiprocessing.get_context("fork")
        self.barrier = context.Barrier(CLIENTS)
        self.ends, self.processes = [], []
        for number in range(CLIENTS):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=self._serve, args=(theirs, number, conninfo, reserving), daemon=True
            )
            process.start()
            self.ends.append(ours)
            self.processes.append(process)

    def _serve(self, pipe, number: int, conninfo: str, reserving: list[Any]) -> None:
        client = Client(conninfo, reserving)
        while (told := pipe.recv()) is not None:
            method, arguments = told
            self.barrier.wait()
            if method == "run":
                arguments = (*arguments, number)
            pipe.send(getattr(client, method)(*arguments))

    def together(self, method: str, *arguments: Any) -> int:
        for end in self.ends:
            end.send((method, arguments))
        return sum(end.recv() for end in self.ends)

    def end(self) -> None:
        for end in self.ends:
            end.send(None)
        for process in self.processes:
            process.join(10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with (
        own_database("reservation") as conninfo,
        psycopg.connect(conninfo, autocommit=True) as owner,
    ):
        owner.execute("SET spoke.everything = 'on'")
        plenty, races = prepare(owner)
        reserving = capture(plenty[0])
        owner.execute("VACUUM ANALYZE")
        clients = Clients(conninfo, reserving)
        try:
            hot = measure(clients, plenty[:1], options)
            many = measure(clients, plenty, options)
            passed = {way: overshoot(owner, clients, way, races) for way in WAYS}
        finally:
            clients.end()
        check_ours(owner, plenty[0])
    report(
        "Race-free reservation",
        f"{CLIENTS} clients (processes, one connection each), transactions a second: one organization"
        f" | {MANY:,} organizations; medians of {options.rounds} interleaved rounds of"
        f" {options.seconds:g} s. Each transaction also inserts the module. Ours is `reserve()`'s own"
        ' statement under row-level security, with plan, override and history; so is "same duties",'
        " one step after the other. The other peers are lean: they have their limit in the row they"
        f" change, and neither tenants nor history. Over the limit: {RACES} organizations with room for"
        f" {SMALL} modules, {CLIENTS} clients asking at once in each.\n\n"
        + table(
            [
                *("reservation", "hot, tx/s", "of the lean", "of the same", f"{MANY:,}, tx/s"),
                *("of the lean", "of the same", "over the limit"),
            ],
            [row(way, hot, many, passed) for way in WAYS]
            + [["goal for ours, of SELECT FOR UPDATE", "", "≥ 1.40", "", "", "", "", "0"]],
        ),
    )


WAYS = {
    "prepared": "ours, one statement, prepared",
    "ours": "ours, not prepared",
    "for update": "SELECT FOR UPDATE, UPDATE, INSERT (lean)",
    "for update, same duties": "SELECT FOR UPDATE, same duties",
    "two statements": "conditional UPDATE, then INSERT",
    "check": "check, then INSERT and UPDATE",
    **{f"history {n}": f"quota row, COUNT of {n:,} audit rows, UPDATE, audit" for n in ROWS},
}


def row(way: str, hot, many, passed) -> list[str]:
    cells = [WAYS[way]]
    for rates in (hot, many):
        if way not in rates:
            cells += ["", "", ""]
            continue
        cells += [f"{median(rates[way]):,.0f}"]
        cells += [
            f"{ratio(rates, way, peer):.2f}" for peer in ("for update", "for update, same duties")
        ]
    wrong, worst = passed[way]
    return [*cells, f"{wrong} organizations, by {worst} at most" if wrong else "0"]


def prepare(owner) -> tuple[list[int], dict[str, list[int]]]:
    """Organizations with more room than anybody uses, and for each way some with little."""
    from spoke.core.tenancy import OF_ORG, policy_statements

    for name in ("peer", "guarded"):
        owner.execute(TABLES.format(name))
        if name == "guarded":
            for kind in ("quota", "module", "history"):
                for statement in policy_statements(
                    f"guarded_{kind}", OF_ORG, OF_ORG, append_only=False
                ):
                    owner.execute(statement)
    plenty = seed("plenty", MANY, PLENTY)
    races = {way: seed(f"race{n}", RACES, SMALL) for n, way in enumerate(WAYS)}
    for name in ("peer", "guarded"):
        owner.execute(
            f'INSERT INTO {name}_quota SELECT org_id, 0, "limit" FROM quotas_limitoverride'
        )
    for rows in ROWS:
        owner.execute(AUDIT.format(rows))
        # Of 100,000 rows each a thousand organizations would fill the disk.
        filled = plenty if rows * MANY <= 10**6 else plenty[:1]
        owner.execute(FILL_AUDIT.format(rows), [filled])
    return plenty, races


def seed(name: str, number: int, limit: int) -> list[int]:
    from django.utils import timezone

    from orgs.models import Organization, User
    from quotas.models import LimitOverride
    from spoke.core import tenancy

    now = timezone.now()
    user = User.objects.create_user(f"{name}@example.com")
    with tenancy.all_organizations(reason="benchmark"):
        organizations = Organization.objects.bulk_create(
            Organization(name=f"{name}-{n}", owner=user, created_at=now, updated_at=now)
            for n in range(number)
        )
        LimitOverride.objects.bulk_create(
            LimitOverride(org=org, resource="modules", limit=limit, created_at=now)
            for org in organizations
        )
    return [org.pk for org in organizations]


def measure(clients: Clients, org_ids: list[int], options) -> dict[str, list[float]]:
    ways = [way for way in WAYS if len(org_ids) == 1 or way != f"history {ROWS[-1]}"]
    return interleaved(
        {
            way: lambda way=way: clients.together("run", way, org_ids, options.seconds)
            for way in ways
        },
        rounds=options.rounds,
    )


def overshoot(owner, clients: Clients, way: str, races: dict[str, list[int]]) -> tuple[int, int]:
    """How many organizations have more modules than allowed, and by how many at most."""
    clients.together("race", way, races[way])
    tables = {
        "ours": "registry_module",
        "prepared": "registry_module",
        "for update, same duties": "guarded_module",
    }
    rows = owner.execute(
        f"SELECT count(*) - {SMALL} FROM {tables.get(way, 'peer_module')}"
        " WHERE org_id = ANY(%s) GROUP BY org_id",
        [races[way]],
    ).fetchall()
    over = [number for (number,) in rows if number > 0]
    return len(over), max(over, default=0)


def check_ours(owner, captured_of: int) -> None:
    """What is reserved is what is there, in every organization; capturing reserved one for nothing."""
    wrong = owner.execute(
        "SELECT g.org_id, g.used, count(m.id) FROM quotas_usagegauge g"
        " LEFT JOIN registry_module m ON m.org_id = g.org_id WHERE g.resource = 'modules'"
        " GROUP BY g.org_id, g.used HAVING g.used <> count(m.id) + (g.org_id = %s)::int",
        [captured_of],
    ).fetchall()
    assert not wrong, wrong[:5]


if __name__ == "__main__":
    main()
