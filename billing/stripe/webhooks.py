"""Which deliveries are Stripe's: the signature over the raw body, within five minutes."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings
from djstripe.models import WebhookEndpoint

TOLERANCE_SECONDS = 300


class ForgeryError(Exception):
    """A delivery that is not Stripe's, is too old, or says nothing that can be read."""


@dataclass(frozen=True)
class Delivery:
    """An event as it was delivered."""

    id: str
    kind: str
    object_id: str
    created_at: datetime
    payload: dict[str, Any]


def secrets() -> list[str]:
    """All that are valid now: those of the settings, and those that stripe_setup keeps."""
    kept = WebhookEndpoint.objects.exclude(status="disabled").exclude(secret="")
    return [*settings.STRIPE_WEBHOOK_SECRETS, *kept.values_list("secret", flat=True)]


def verified(body: bytes, signature: str) -> Delivery:
    """The event of a signed body. Raises ForgeryError."""
    for secret in secrets():
        try:
            text = body.decode()
            check: Any = stripe.WebhookSignature.verify_header
            check(text, signature, secret, TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        return delivery_of(_parsed(text))
    raise ForgeryError("no valid signature")


def _parsed(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ForgeryError("not JSON") from error
    if not isinstance(data, dict):
        raise ForgeryError("not an event")
    return data


def delivery_of(data: dict[str, Any]) -> Delivery:
    """An event's parts. Raises ForgeryError for what is none."""
    try:
        about = data["data"]["object"]
        return Delivery(
            id=str(data["id"]),
            kind=str(data["type"]),
            object_id=str(about.get("id") or ""),
            created_at=datetime.fromtimestamp(int(data["created"]), UTC),
            payload=data,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise ForgeryError("not an event") from error
