"""Refusals, in the shape of Stripe's."""

from typing import Any


class Refusal(Exception):
    """An error answer: HTTP status, and the members of its `error` object."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        **members: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": kind, "message": message, **members}

    def body(self) -> dict[str, Any]:
        """What is answered."""
        code = self.error.get("code")
        doc = {"doc_url": f"https://stripe.com/docs/error-codes/{code}"} if code else {}
        return {"error": {**self.error, **doc}}


DECLINES = {
    "generic_decline": ("card_declined", "Your card was declined."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "lost_card": ("card_declined", "Your card was declined."),
    "expired_card": ("expired_card", "Your card has expired."),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "processing_error": ("processing_error", "An error occurred while processing your card."),
    "authentication_required": (
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}


def declined(reason: str, **members: Any) -> Refusal:
    """A card that is declined for a reason of DECLINES."""
    code, message = DECLINES[reason]
    more = {"decline_code": reason} if code == "card_declined" else {}
    return Refusal(message, status=402, kind="card_error", code=code, **more, **members)


def missing(kind: str, name: str, *, param: str = "id", status: int = 404) -> Refusal:
    """Something that is not there."""
    return Refusal(f"No such {kind}: '{name}'", status=status, code="resource_missing", param=param)


def invalid(message: str, param: str, code: str = "parameter_invalid") -> Refusal:
    """A parameter whose value cannot be used."""
    return Refusal(message, code=code, param=param)
