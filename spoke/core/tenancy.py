"""Tenant isolation by PostgreSQL's row-level security: the policies, and the context they read.

A transaction says once for whom it works. Four settings, local to the transaction, carry that:

- `spoke.org_id`: rows of this organization are visible;
- `spoke.user_id`: so are a user's own memberships and tokens, in whatever organization;
- `spoke.secret`: so is the one row whose secret (by its digest) the caller holds;
- `spoke.shared`: so is, for reading, what other organizations share (registry.migrations, ADR 0019).

Without them no row of a tenant table is visible or writable. `all_organizations` is the one door
past the policies, for staff and for work that spans organizations; it is logged with its reason
(`door_log`). The settings vanish with the transaction, so a pooled connection carries nothing over.
"""

import re
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

from spoke.core.door_log import log_opening

OF_ORG = "org_id = (SELECT NULLIF(current_setting('spoke.org_id', true), '')::bigint)"
OF_USER = "user_id = (SELECT NULLIF(current_setting('spoke.user_id', true), '')::bigint)"
BY_SECRET = "digest = (SELECT NULLIF(current_setting('spoke.secret', true), ''))"  # noqa: S105
HEX = re.compile(r"[0-9a-f]*")
SHARED = "(SELECT current_setting('spoke.shared', true) = 'on')"
DOOR = "(SELECT current_setting('spoke.everything', true) = 'on')"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """For whom a transaction works. `secret` is the hex SHA-256 digest of a secret presented.

    `shared` adds, for reading, what other organizations share with this one or with all.
    """

    org_id: int | None = None
    user_id: int | None = None
    secret: str = ""
    everything: bool = False
    shared: bool = False


NOBODY = Scope()
_current: ContextVar[Scope] = ContextVar("tenancy_scope", default=NOBODY)


class TenancyError(RuntimeError):
    """The code tried to move one transaction from one organization to another."""


def current() -> Scope:
    """The scope of the transaction under way."""
    return _current.get()


@lru_cache(maxsize=4096)
def _statement(scope: Scope, *, only_what_is_set: bool = False) -> str:
    """Tells PostgreSQL of the scope, until the transaction ends."""
    if not HEX.fullmatch(scope.secret):
        raise ValueError("a secret is presented by its digest")
    values = {
        "org_id": "" if scope.org_id is None else int(scope.org_id),
        "user_id": "" if scope.user_id is None else int(scope.user_id),
        "secret": scope.secret,
        "everything": "on" if scope.everything else "",
        "shared": "on" if scope.shared else "",
    }
    # Nothing but digits, hexadecimal digits and `on` gets in here, so nothing needs quoting.
    calls = [
        f"set_config('spoke.{name}', '{value}', true)"
        for name, value in values.items()
        if value or not only_what_is_set
    ]
    return f"SELECT {', '.join(calls)};"


def _apply(scope: Scope) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_statement(scope))


def _begin(scope: Scope) -> None:
    """Begins the transaction and says for whom it works, in one round trip instead of two."""
    connection.ensure_connection()
    raw = connection.connection
    if raw.pgconn.transaction_status != TransactionStatus.IDLE:
        _apply(scope)
        return
    with connection.wrap_database_errors:
        result = raw.pgconn.exec_(f"BEGIN;{_statement(scope)}".encode())
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)


@contextmanager
def scoped(scope: Scope) -> Iterator[None]:
    """Runs a transaction (a savepoint within one) that sees what `scope` may see, and restores after.

    A persistent connection that died while idle is opened anew, once, since nothing was done yet.
    """
    outer = _enter(scope)
    with transaction.atomic():
        _begin(scope)
        token = _current.set(scope)
        try:
            yield
        finally:
            _current.reset(token)
        if _is_nested():
            _apply(outer)


@contextmanager
def reading(scope: Scope) -> Iterator[None]:
    """Reads what `scope` may see, each statement with its scope in one round trip of its own.

    READ COMMITTED shows every statement what is committed by then, inside a transaction or not: for
    reading alone a transaction would only cost its BEGIN and COMMIT. What writes all the same opens one.
    """
    if connection.in_atomic_block:
        with scoped(scope):
            yield
        return
    _enter(scope)
    token = _current.set(scope)
    try:
        with connection.execute_wrapper(_with_scope):
            yield
    finally:
        _current.reset(token)


def _with_scope(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Sends the scope of the moment along with a statement: both are one transaction, or in one."""
    if many:
        raise TenancyError("executemany is for writing, inside a transaction")
    # Between transactions nothing is set, and one that is opened in here says all of its own.
    prefix = _statement(_current.get(), only_what_is_set=True)
    result = execute(prefix + sql, params, many, context)
    context["cursor"].cursor.nextset()  # past the answer to our own statement
    return result


def _enter(scope: Scope) -> Scope:
    """Checks that a scope may be opened here, and returns the one around it."""
    outer = _current.get()
    if outer.org_id is not None and scope.org_id not in (None, outer.org_id):
        raise TenancyError(f"organization {scope.org_id} inside a transaction of {outer.org_id}")
    if not connection.in_atomic_block:
        _reopen_if_dead()
    return outer


def _is_nested() -> bool:
    """Whether the atomic block just left the body of will end in a savepoint, not in a COMMIT."""
    return len(connection.atomic_blocks) > 1


def _reopen_if_dead() -> None:
    """Costs nothing while the connection lives: the socket is asked, not the server."""
    raw = connection.connection
    if raw is not None and (raw.closed or raw.pgconn.socket < 0 or _peer_closed(raw.pgconn.socket)):
        connection.close()


def _peer_closed(descriptor: int) -> bool:
    # An idle connection has nothing to read; readable means the server closed it (or said so).
    poller = select.poll()
    poller.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poller.poll(0))


def organization(org_id: int) -> Any:
    """A transaction that sees one organization."""
    return scoped(Scope(org_id=org_id))


def person(user_id: int, *, secret: str = "") -> Any:
    """A transaction that sees a user's own rows, and the row of the secret presented."""
    return scoped(Scope(user_id=user_id, secret=secret))


def presenting(secret: str) -> Any:
    """A transaction that sees only the row whose secret has this digest."""
    return scoped(Scope(secret=secret))


@contextmanager
def all_organizations(*, reason: str, actor: str = "system") -> Iterator[None]:
    """The one door past the policies. Logged with its reason; never opened for a tenant's request."""
    log_opening(reason=reason, actor=actor)
    outer = _current.get()
    with scoped(replace(outer, everything=True)):
        yield


def adopt(org_id: int) -> None:
    """Lets the transaction under way work for an organization that it is just creating."""
    scope = _current.get()
    if scope.org_id not in (None, org_id):
        raise TenancyError(f"organization {org_id} inside a transaction of {scope.org_id}")
    scope = replace(scope, org_id=org_id)
    _apply(scope)
    _current.set(scope)


class EnableRowLevelSecurity(Operation):
    """Migration operation: forces row-level security on a model's table.

    Args:
        model_name: the model of the migration's app.
        using: SQL that says which rows the context sees; default, the rows of `spoke.org_id`.
        check: SQL that says which rows it may write; default, those that it sees.
        append_only: rows can be added and read, not changed; deleting needs the door.
    """

    reversible = True
    reduces_to_sql = True

    def __init__(
        self,
        model_name: str,
        using: str = OF_ORG,
        check: str | None = None,
        append_only: bool = False,
    ) -> None:
        self.model_name = model_name
        self.using = using
        self.check = check or using
        self.append_only = append_only

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Changes nothing of the models."""

    def _table(self, app_label: str, state: ProjectState) -> str:
        return str(state.apps.get_model(app_label, self.model_name)._meta.db_table)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = self._table(app_label, to_state)
        for statement in policy_statements(
            table, self.using, self.check, append_only=self.append_only
        ):
            schema_editor.execute(statement)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = self._table(app_label, from_state)
        for name in ("tenant", "tenant_read", "tenant_add", "door"):
            schema_editor.execute(f'DROP POLICY IF EXISTS {name} ON "{table}"')
        schema_editor.execute(f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY')
        schema_editor.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')

    def describe(self) -> str:
        return f"Force row-level security on {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"rls_{self.model_name.lower()}"


class ShareRows(Operation):
    """Migration operation: rows of a model's table that are seen, for reading, by a scope with `shared`.

    Args:
        model_name: the model of the migration's app, whose table is under row-level security.
        using: SQL that says which rows.
        app_label: the app of the model, where it is not the migration's.
    """

    reversible = True
    reduces_to_sql = True

    def __init__(self, model_name: str, using: str, app_label: str | None = None) -> None:
        self.model_name, self.using, self.app_label = model_name, using, app_label

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Changes nothing of the models."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = to_state.apps.get_model(self.app_label or app_label, self.model_name)._meta.db_table
        # Named so that it is looked at last: PostgreSQL takes policies in the order of their names.
        schema_editor.execute(
            f'CREATE POLICY visitor ON "{table}" FOR SELECT USING ({SHARED} AND ({self.using}))'
        )

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = from_state.apps.get_model(
            self.app_label or app_label, self.model_name
        )._meta.db_table
        schema_editor.execute(f'DROP POLICY IF EXISTS visitor ON "{table}"')

    def describe(self) -> str:
        return f"Share rows of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"share_{self.model_name.lower()}"


def policy_statements(table: str, using: str, check: str, *, append_only: bool) -> list[str]:
    """The SQL that puts a table under its policies."""
    statements = [
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
        f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
        f'CREATE POLICY door ON "{table}" USING ({DOOR}) WITH CHECK ({DOOR})',
    ]
    if append_only:
        statements[-1] = f'CREATE POLICY door ON "{table}" FOR DELETE USING ({DOOR})'
        seen = f"{using} OR {DOOR}"
        statements.append(f'CREATE POLICY tenant_read ON "{table}" FOR SELECT USING ({seen})')
        statements.append(f'CREATE POLICY tenant_add ON "{table}" FOR INSERT WITH CHECK ({seen})')
    else:
        statements.append(f'CREATE POLICY tenant ON "{table}" USING ({using}) WITH CHECK ({check})')
    return statements


def prepare_runtime_role() -> None:
    """Creates the runtime role and grants it the rows (never the schema) of this database.

    Runs as the login role before migrations. Safe to repeat, and when several do it at once.
    """
    role = settings.DATABASE_ROLE
    quoted = connection.ops.quote_name(role)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, to_regrole(%s)", [quoted])
        owner, existing = cursor.fetchone()
        if existing is None:
            cursor.execute(
                f"DO $$ BEGIN CREATE ROLE {quoted} NOLOGIN NOBYPASSRLS NOINHERIT;"
                " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            )
        if owner != role:
            _grant_membership(cursor, quoted)
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quoted}")
        for kind, rights in (
            ("TABLES", "SELECT, INSERT, UPDATE, DELETE"),
            ("SEQUENCES", "USAGE, SELECT"),
        ):
            cursor.execute(f"GRANT {rights} ON ALL {kind} IN SCHEMA public TO {quoted}")
            cursor.execute(
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {kind} TO {quoted}"
            )


def _grant_membership(cursor: Any, quoted_role: str) -> None:
    cursor.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", [quoted_role.strip('"')])
    version = connection.pg_version  # type: ignore[attr-defined]
    # From 16 on the creator holds ADMIN only; SET ROLE needs a grant that says so.
    option = " WITH SET TRUE, INHERIT FALSE" if version >= 160_000 else ""
    try:
        with transaction.atomic():
            cursor.execute(f"GRANT {quoted_role} TO CURRENT_USER{option}")
    except DatabaseError:
        # Another migrate is granting the same at this moment, or an operator granted it before.
        cursor.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", [quoted_role.strip('"')])
        if not cursor.fetchone()[0]:
            raise
