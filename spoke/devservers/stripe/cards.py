"""Test cards, and what becomes of paying by them: https://docs.stripe.com/testing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """`attach`: why it cannot be attached. `charge`: why paying by it fails.

    `secure`: paying asks for 3-D Secure, "once" until it was set up or paid with, or "always".
    """

    number: str
    brand: str = "visa"
    attach: str | None = None
    charge: str | None = None
    secure: str | None = None


TOKENS = {
    "pm_card_visa": Card("4242424242424242"),
    "pm_card_mastercard": Card("5555555555554444", "mastercard"),
    "pm_card_amex": Card("378282246310005", "amex"),
    "pm_card_chargeDeclined": Card("4000000000000002", attach="generic_decline"),
    "pm_card_visa_chargeDeclined": Card("4000000000000002", attach="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        "4000000000009995", attach="insufficient_funds"
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(
        "4000000000009995", attach="insufficient_funds"
    ),
    "pm_card_chargeDeclinedExpiredCard": Card("4000000000000069", attach="expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": Card("4000000000000127", attach="incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": Card("4000000000000119", attach="processing_error"),
    "pm_card_chargeCustomerFail": Card("4000000000000341", charge="generic_decline"),
    "pm_card_authenticationRequired": Card("4000002760003184", secure="always"),
    "pm_card_threeDSecure2Required": Card("4000000000003220", secure="once"),
    "pm_card_authenticationRequiredOnSetup": Card("4000002500003155", secure="once"),
}
NUMBERS = {card.number: card for card in TOKENS.values()}
