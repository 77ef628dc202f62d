"""What the billing endpoints take."""

from typing import Any

from rest_framework import serializers

from spoke.core.serializers import StrictSerializer

INTERVALS = [("month", "month"), ("year", "year")]


def _stripe_id(**more: Any) -> serializers.RegexField:
    """An id of Stripe's. Anything else would be refused there, or could not even be sent."""
    return serializers.RegexField(r"\A[A-Za-z0-9_]+\Z", max_length=255, **more)


class WishInput(StrictSerializer):
    """A subscription that is wanted."""

    plan = serializers.CharField(max_length=32, help_text="pro or enterprise.")
    interval = serializers.ChoiceField(choices=INTERVALS, default="month")
    currency = serializers.RegexField(
        r"^[A-Za-z]{3}$", default="usd", help_text="One that the plan has a price in."
    )
    trial_period_days = serializers.IntegerField(required=False, min_value=0, max_value=90)


class SubscriptionInput(WishInput):
    payment_method_id = _stripe_id(
        required=False, help_text="Becomes the default. Left out: the default pays."
    )


class CheckoutInput(WishInput):
    success_url = serializers.URLField(required=False, max_length=2000)
    cancel_url = serializers.URLField(required=False, max_length=2000)


class ChangeInput(StrictSerializer):
    plan = serializers.CharField(max_length=32, required=False)
    interval = serializers.ChoiceField(choices=INTERVALS, required=False)
    payment_method_id = _stripe_id(required=False)


class PreviewInput(StrictSerializer):
    plan = serializers.CharField(max_length=32)
    interval = serializers.ChoiceField(choices=INTERVALS, required=False)
    currency = serializers.RegexField(r"^[A-Za-z]{3}$", required=False)


class CancelInput(StrictSerializer):
    immediately = serializers.BooleanField(default=False)


class PaymentMethodInput(StrictSerializer):
    stripe_payment_method_id = _stripe_id()
    set_as_default = serializers.BooleanField(default=False)


class PortalInput(StrictSerializer):
    return_url = serializers.URLField(required=False, max_length=2000)
