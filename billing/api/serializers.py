"""What the billing endpoints take; they answer 501 until billing is there."""

from rest_framework import serializers

from spoke.core.serializers import StrictSerializer


class SubscriptionInput(StrictSerializer):
    plan = serializers.ChoiceField(choices=["pro", "enterprise"])
    payment_method_id = serializers.CharField(required=False, max_length=255)
    trial_period_days = serializers.IntegerField(required=False, min_value=0, max_value=730)
    interval = serializers.ChoiceField(choices=["month", "year"], default="month")
    currency = serializers.CharField(default="usd", min_length=3, max_length=3)


class CancelInput(StrictSerializer):
    immediately = serializers.BooleanField(default=False)


class PaymentMethodInput(StrictSerializer):
    stripe_payment_method_id = serializers.CharField(max_length=255)
    set_as_default = serializers.BooleanField(default=False)
