"""What ties our rows to Stripe's objects, and the inbox of what Stripe tells us."""

from django.db import models
from django.db.models import Q


class StripeCustomer(models.Model):
    """An organization as Stripe's customer. It is kept, and used again, when a subscription ends."""

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="stripe_customer")
    stripe_id = models.CharField(max_length=255, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.stripe_id


class PaymentMethod(models.Model):
    """A way to pay that is attached to the organization's customer, as Stripe last told of it."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="payment_methods")
    stripe_id = models.CharField(max_length=255, unique=True)
    kind = models.CharField(max_length=32)
    brand = models.CharField(max_length=32, blank=True)
    last4 = models.CharField(max_length=4, blank=True)
    exp_month = models.PositiveSmallIntegerField(null=True)
    exp_year = models.PositiveSmallIntegerField(null=True)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    # The month for which its expiry was announced, and since when somebody is announcing it.
    warned_of = models.DateField(null=True, blank=True)
    warning_claimed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org"],
                condition=Q(is_default=True),
                name="billing_paymentmethod_one_default",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.brand or self.kind} {self.last4}".strip()


class StripePrice(models.Model):
    """Stripe's price of one of our base prices."""

    price = models.OneToOneField("quotas.PlanPrice", models.CASCADE, related_name="stripe_price")
    stripe_id = models.CharField(max_length=255, unique=True)
    product_id = models.CharField(max_length=255)

    def __str__(self) -> str:
        return self.stripe_id


class EventStatus(models.TextChoices):
    """Where an event of the inbox stands."""

    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"


class WebhookEvent(models.Model):
    """An event of Stripe's, once, however often it was delivered; `dead` ones wait for staff."""

    event_id = models.CharField(max_length=255, unique=True)
    kind = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255)
    payload = models.JSONField()
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # "webhook", or "sweep" for what no webhook brought.
    source = models.CharField(max_length=8, default="webhook")
    status = models.CharField(
        max_length=8, choices=EventStatus.choices, default=EventStatus.WAITING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=EventStatus.values), name="billing_webhookevent_status"
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(status=EventStatus.WAITING),
                name="billing_webhookevent_due",
            ),
            models.Index(fields=["received_at"], name="billing_webhookevent_received"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"


class DunningNotice(models.Model):
    """That an organization was told, once, that its payment is so many days overdue."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    past_due_since = models.DateTimeField()
    day = models.PositiveSmallIntegerField()
    claimed_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "past_due_since", "day"],
                name="billing_dunningnotice_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: day {self.day}"
