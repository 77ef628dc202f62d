"""An organization's agreement to pay for a plan."""

from django.db import models
from django.db.models import F, Q


class Collection(models.TextChoices):
    """Who collects: staff, by hand, or Stripe, which then also bills the base price."""

    MANUAL = "manual"
    STRIPE = "stripe"


class SubscriptionStatus(models.TextChoices):
    """Where a subscription stands. Everything but `canceled` is live.

    Of an `incomplete` one the first payment is not made: it gives no limits yet. A `past_due` one keeps
    them while Stripe and its owner try again.
    """

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"


class Subscription(models.Model):
    """A plan at its price, by month or year; one of them at most is live in an organization.

    Its months and years are counted from `anchor`; the current one is [current_period_start,
    current_period_end). `pending_plan` takes the plan's place when it ends.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="subscriptions")
    plan = models.ForeignKey("quotas.Plan", models.PROTECT, related_name="+")
    pending_plan = models.ForeignKey("quotas.Plan", models.PROTECT, related_name="+", null=True)
    status = models.CharField(max_length=16, choices=SubscriptionStatus.choices)
    interval = models.CharField(max_length=5, choices=[("month", "month"), ("year", "year")])
    currency = models.CharField(max_length=3)
    anchor = models.DateTimeField()
    started_at = models.DateTimeField()
    # Usage of periods that begin in [trial_start, trial_end) is not billed. No start: from the first on.
    trial_start = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    current_period_start = models.DateTimeField()
    current_period_end = models.DateTimeField()
    cancel_at_period_end = models.BooleanField(default=False)
    canceled_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    collection = models.CharField(
        max_length=8, choices=Collection.choices, default=Collection.MANUAL
    )
    # Stripe's; null while it is being made.
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org"],
                condition=~Q(status=SubscriptionStatus.CANCELED),
                name="billing_subscription_one_live",
            ),
            models.CheckConstraint(
                condition=Q(status__in=SubscriptionStatus.values),
                name="billing_subscription_status",
            ),
            models.CheckConstraint(
                condition=Q(status=SubscriptionStatus.CANCELED, ended_at__isnull=False)
                | (~Q(status=SubscriptionStatus.CANCELED) & Q(ended_at__isnull=True)),
                name="billing_subscription_ended",
            ),
            models.CheckConstraint(
                condition=Q(current_period_end__gt=F("current_period_start")),
                name="billing_subscription_forward",
            ),
        ]
        indexes = [
            models.Index(
                fields=["current_period_end"],
                condition=Q(ended_at__isnull=True),
                name="billing_subscription_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: plan {self.plan_id} by {self.interval}, {self.status}"
