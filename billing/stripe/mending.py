"""What of dj-stripe 2.11 does not fit the client that it is used with; mended when billing is loaded.

An event's `request` is an object that is no dict any more, and was taken for a text of 50 characters.
Stripe's second API was always called at Stripe's own address.
"""

from typing import Any

from djstripe import models

from billing.stripe.client import accounts_of_v2

_attach_objects = models.Event._attach_objects_hook


def _attach_request(event: Any, cls: Any, data: Any, *args: Any, **more: Any) -> None:
    _attach_objects(event, cls, data, *args, **more)
    request = data.get("request")
    if request is not None and not isinstance(request, dict | str):
        event.request_id = request["id"] or ""
        event.idempotency_key = request["idempotency_key"] or ""


def mend() -> None:
    """dj-stripe's models do as this module says; again is nothing."""
    models.Event._attach_objects_hook = _attach_request
    models.AccountV2._v2_accounts = staticmethod(accounts_of_v2)
