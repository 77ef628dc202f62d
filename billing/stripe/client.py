"""The one door to Stripe: timeouts, bounded retries, errors of ours, and never inside a transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import connection

from spoke.core.errors import Conflict, DomainError, InvalidInput, NotFound, ServiceUnavailable

logger = structlog.get_logger(__name__)
# Seconds to connect, and to wait for an answer; a request that asks for a card's bank may take long.
TIMEOUT = (3.0, 25.0)
RETRIES = 2
_mirroring: ContextVar[bool] = ContextVar("stripe_mirroring", default=False)


class NetworkInTransactionError(RuntimeError):
    """A call over the network would have held a transaction's locks."""


class PaymentDeclined(DomainError):
    """The card was declined, for a reason in `decline_code`; nothing was charged."""

    status, code, title = 402, "card_declined", "Payment declined"


class GuardedClient(stripe.RequestsClient):
    """Refuses to send anything while a transaction is open."""

    def request_with_retries(self, *args: Any, **kwargs: Any) -> Any:
        if connection.in_atomic_block and not _mirroring.get():
            raise NetworkInTransactionError("a call to Stripe inside a transaction")
        return super().request_with_retries(*args, **kwargs)


@contextmanager
def mirroring() -> Iterator[None]:
    """Lets dj-stripe fetch what an object refers to inside its own transactions, not inside ours."""
    if connection.in_atomic_block:
        raise NetworkInTransactionError("the mirror is kept outside of transactions")
    token = _mirroring.set(True)
    try:
        yield
    finally:
        _mirroring.reset(token)


def configured() -> bool:
    """Whether there is a key: without one everything is collected by hand."""
    return bool(settings.STRIPE_SECRET_KEY)


def api() -> Any:
    """Stripe's client, for the key and address of the settings."""
    return _client(settings.STRIPE_SECRET_KEY, _host(), settings.STRIPE_API_VERSION).v1


def accounts_of_v2(key: str) -> Any:
    """The accounts of Stripe's second API, by a key."""
    return _client(key, _host(), settings.STRIPE_API_VERSION).v2.core.accounts


def _host() -> str:
    return getattr(settings, "STRIPE_API_HOST", "") or "https://api.stripe.com"


@lru_cache(maxsize=4)
def _client(key: str, host: str, version: str) -> stripe.StripeClient:
    http = GuardedClient(timeout=TIMEOUT)
    made = stripe.StripeClient(
        key,
        base_addresses={"api": host},
        stripe_version=version,
        max_network_retries=RETRIES,
        http_client=http,
    )
    # dj-stripe calls the module's own functions: the same door, the same address.
    stripe.default_http_client = http
    stripe.api_key = key
    stripe.api_base = host
    stripe.max_network_retries = RETRIES
    return made


@contextmanager
def translated(*, field: str | None = None) -> Iterator[None]:
    """Turns Stripe's errors into ours. `field`: the input that a refused parameter came from.

    Raises PaymentDeclined, InvalidInput, NotFound, Conflict, and ServiceUnavailable where nothing is
    known of the outcome: the same call may be sent again.
    """
    try:
        yield
    except stripe.CardError as error:
        decline = getattr(error.error, "decline_code", None) if error.error else None
        raise PaymentDeclined(
            error.user_message or "The card was declined.",
            code=error.code or "card_declined",
            field=field,
            decline_code=decline or error.code,
        ) from error
    except stripe.IdempotencyError as error:
        raise Conflict("The same was asked for just now.", code="stripe_conflict") from error
    except stripe.InvalidRequestError as error:
        raise _refused(error, field) from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        logger.error("stripe.key_refused", error=str(error))
        raise unavailable() from error
    except stripe.StripeError as error:
        logger.warning("stripe.unavailable", error=str(error), status=error.http_status)
        raise unavailable() from error


def unavailable() -> ServiceUnavailable:
    """Stripe does not answer."""
    return ServiceUnavailable(
        "The payment provider does not answer. Send the request again: nothing is done twice.",
        code="stripe_unavailable",
    )


def _refused(error: stripe.InvalidRequestError, field: str | None) -> DomainError:
    message = error.user_message or str(error)
    if field:
        return InvalidInput(message, field=field)
    if error.http_status == NotFound.status:
        return NotFound(message)
    logger.error("stripe.refused", error=message, param=error.param)
    return Conflict(message, code="stripe_refused")
