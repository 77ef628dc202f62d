"""Many changes of members in one call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import transaction

from orgs.context import Actor
from orgs.models import Organization
from orgs.roles import Role
from orgs.services import members
from orgs.services.organizations import lock_organization
from spoke.core.errors import DomainError, Unprocessable

Mode = Literal["all_or_nothing", "per_row"]


@dataclass(frozen=True)
class RowResult:
    """What became of one operation."""

    index: int
    error: DomainError | None


class BulkRefused(Unprocessable):
    code, title = "bulk_refused", "Nothing was changed"


def change_members(
    *,
    org: Organization,
    context_role: Role,
    actor: Actor,
    operations: list[dict[str, Any]],
    mode: Mode,
    now: datetime,
) -> list[RowResult]:
    """Every operation is done, or in `all_or_nothing` mode none: then BulkRefused names each failure.

    An operation is `op` (add, change, remove), `user_id` or `email`, and `role`. They run in the
    order given, each seeing what those before it did.
    """
    lock_organization(org.pk)
    results = [
        _run_row(index, org, context_role, actor, operation, now)
        for index, operation in enumerate(operations)
    ]
    failures = [_named(row.index, row.error) for row in results if row.error is not None]
    if failures and mode == "all_or_nothing":
        raise BulkRefused(
            f"{len(failures)} of {len(operations)} operations are refused; nothing was changed.",
            errors=failures,
        )
    return results


def _named(index: int, error: DomainError) -> dict[str, str]:
    field = f"operations.{index}" + (f".{error.field}" if error.field else "")
    return {"field": field, "code": error.error_code, "detail": error.detail}


def _run_row(
    index: int,
    org: Organization,
    context_role: Role,
    actor: Actor,
    operation: dict[str, Any],
    now: datetime,
) -> RowResult:
    try:
        # A savepoint, so that a row that fails leaves nothing behind.
        with transaction.atomic():
            _apply(org, context_role, actor, operation, now)
    except DomainError as error:
        return RowResult(index, error)
    return RowResult(index, None)


def _apply(
    org: Organization, context_role: Role, actor: Actor, operation: dict[str, Any], now: datetime
) -> None:
    who = {name: operation[name] for name in ("user_id", "email") if name in operation}
    user = members.find_user(**who)
    if operation["op"] == "remove":
        members.remove_member(
            org=org, context_role=context_role, actor=actor, user_id=user.pk, now=now
        )
    elif operation["op"] == "add":
        members.add_member(
            org=org,
            context_role=context_role,
            actor=actor,
            user=user,
            role=operation["role"],
            now=now,
        )
    else:
        members.change_role(
            org=org,
            context_role=context_role,
            actor=actor,
            user_id=user.pk,
            role=operation["role"],
            now=now,
        )
