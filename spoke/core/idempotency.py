"""Idempotency keys: the first answer under a key is replayed; it commits with what it answers for.

Because record and effect share one transaction, there is no state between: a call that failed left
neither, and may be sent again under the same key.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from spoke.core import sealing, tenancy
from spoke.core.errors import Conflict, InvalidInput, Unprocessable
from spoke.core.locks import LockedError, held
from spoke.core.models import IdempotencyRecord

LIFETIME = timedelta(hours=24)
MAX_KEY_LENGTH = 255
# What belongs to the answer itself, not to the request that was just made: no-store guards a secret.
KEPT_HEADERS = ("Location", "ETag", "Cache-Control")


def read_key(request: Request) -> str | None:
    """The request's Idempotency-Key. Raises InvalidInput when it is not 1 to 255 visible ASCII."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= char <= "~" for char in key):
        raise InvalidInput(
            "Idempotency-Key takes 1 to 255 visible ASCII characters.", field="Idempotency-Key"
        )
    return key


def fingerprint(request: Request) -> str:
    """SHA-256 over method, path and the bytes of the body."""
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    digest.update(
        json.dumps(request.data, sort_keys=True, cls=JSONEncoder).encode("utf-8", "surrogatepass")
    )
    return digest.hexdigest()


def run_once(
    *,
    key: str,
    request_hash: str,
    user_id: int | None,
    now: datetime,
    handler: Callable[[], Response],
) -> Response:
    """Runs the handler once for this key; another call with the key gets the first one's answer.

    Must be called inside a tenancy scope's transaction. Raises Conflict while a twin is running and
    Unprocessable when the key was used for another request or by somebody else.
    """
    scope = tenancy.current()
    owner = {"org_id": scope.org_id} if scope.org_id else {"org_id": None, "user_id": user_id}
    name = f"{owner}:{key}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        if not cursor.fetchone()[0]:
            raise _in_use()
    record = IdempotencyRecord.objects.filter(**owner, key=key).first()
    if record is not None and record.created_at <= now - LIFETIME:
        record.delete()
        record = None
    if record is not None:
        return _replay(record, request_hash, user_id)
    response = handler()
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    IdempotencyRecord.objects.create(
        **{"user_id": user_id, **owner},
        key=key,
        request_hash=request_hash,
        response_status=response.status_code,
        response_body=sealing.seal(json.dumps(response.data, cls=JSONEncoder)),
        response_headers=sealing.seal(json.dumps(headers)) if headers else "",
        created_at=now,
    )
    return response


def run_outside(
    *,
    key: str,
    request_hash: str,
    user_id: int | None,
    now: datetime,
    scope: tenancy.Scope,
    handler: Callable[[], Response],
) -> Response:
    """As `run_once`, for a handler that works outside of transactions and can be taken up again.

    Where it died before its answer was kept, the same call runs it again: it has to go on from what it
    left. Raises as `run_once` does.
    """
    owner = f"{scope.org_id}:{None if scope.org_id else user_id}:{key}"
    options: dict[str, Any] = {
        "key": key,
        "request_hash": request_hash,
        "user_id": user_id,
        "now": now,
    }
    try:
        with held(f"idempotency-{owner}", wait=0):
            with tenancy.scoped(scope):
                kept = _kept(scope, user_id, key, now)
                if kept is not None:
                    return _replay(kept, request_hash, user_id)
            response = handler()
            with tenancy.scoped(scope):
                return run_once(**options, handler=lambda: response)
    except LockedError as error:
        raise _in_use() from error


def _kept(
    scope: tenancy.Scope, user_id: int | None, key: str, now: datetime
) -> IdempotencyRecord | None:
    owner = {"org_id": scope.org_id} if scope.org_id else {"org_id": None, "user_id": user_id}
    rows = IdempotencyRecord.objects.filter(**owner, key=key, created_at__gt=now - LIFETIME)
    return rows.first()


def _in_use() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still being processed.",
        code="idempotency_key_in_use",
        headers={"Retry-After": "1"},
    )


def _replay(record: IdempotencyRecord, request_hash: str, user_id: int | None) -> Response:
    # An answer may hold what its reader could not have made, such as the secret of an owner's token.
    if record.request_hash != request_hash or record.user_id != user_id:
        raise Unprocessable(
            "This Idempotency-Key was used for a different request.",
            code="idempotency_key_reused",
        )
    body: Any = json.loads(sealing.unseal(record.response_body))
    headers = json.loads(sealing.unseal(record.response_headers)) if record.response_headers else {}
    headers["Idempotency-Replayed"] = "true"
    return Response(body, status=record.response_status, headers=headers)


def forget_organization(*, org_id: int) -> None:
    """Deletes an organization's records; they have no foreign key that would."""
    IdempotencyRecord.objects.filter(org_id=org_id).delete()


def prune_records(*, now: datetime) -> int:
    """Deletes the records that are past their lifetime, and says how many."""
    with tenancy.all_organizations(reason="prune idempotency records"):
        deleted, _ = IdempotencyRecord.objects.filter(created_at__lte=now - LIFETIME).delete()
    return deleted
