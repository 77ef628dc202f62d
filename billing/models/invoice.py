"""Invoices: drafts that are rated anew, and then documents that never change.

They are kept when an organization is purged, as the law asks: no foreign key ties them to it, and they
carry whom they were made out to.
"""

from django.db import models
from django.db.models import F, Q


class InvoiceStatus(models.TextChoices):
    """Where an invoice stands."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


# From where to where an invoice may go.
TRANSITIONS: dict[InvoiceStatus, frozenset[InvoiceStatus]] = {
    InvoiceStatus.DRAFT: frozenset({InvoiceStatus.OPEN, InvoiceStatus.PAID}),
    InvoiceStatus.OPEN: frozenset(
        {InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}
    ),
    InvoiceStatus.UNCOLLECTIBLE: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID}),
    InvoiceStatus.PAID: frozenset(),
    InvoiceStatus.VOID: frozenset(),
}


class LineKind(models.TextChoices):
    """What a line is for."""

    BASE = "base"
    PRORATION = "proration"
    OVERAGE = "overage"
    CREDIT = "credit"
    TAX = "tax"
    ROUNDING = "rounding"


class InvoiceSource(models.TextChoices):
    """Who wrote an invoice: we, for a period of usage, or Stripe, for a base price."""

    USAGE = "usage"
    STRIPE = "stripe"


class NumberSequence(models.Model):
    """The last number given in a year, by seller. Whoever takes the next holds the row."""

    seller = models.CharField(max_length=16)
    year = models.PositiveSmallIntegerField()
    last = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["seller", "year"], name="billing_numbersequence_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seller}-{self.year}: {self.last}"


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    def for_org(self, org_id: int) -> "InvoiceQuerySet":
        return self.filter(org_id=org_id)

    def shown(self) -> "InvoiceQuerySet":
        """All but those that say nothing."""
        return self.exclude(nothing_due=True).exclude(status=InvoiceStatus.DRAFT, total_minor=0)

    def issued(self) -> "InvoiceQuerySet":
        """All but drafts."""
        return self.exclude(status=InvoiceStatus.DRAFT)


class Invoice(models.Model):
    """What one period costs an organization, in minor units; one invoice a period.

    Once it is no draft the database refuses to change anything but its status and how it was settled.
    """

    org = models.ForeignKey(
        "orgs.Organization", models.DO_NOTHING, related_name="+", db_constraint=False
    )
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    number = models.CharField(max_length=32, null=True, unique=True)
    status = models.CharField(
        max_length=16, choices=InvoiceStatus.choices, default=InvoiceStatus.DRAFT
    )
    currency = models.CharField(max_length=3)
    # What tax is on, and the tax on it. What was paid before comes off after: total_minor is less then.
    subtotal_minor = models.BigIntegerField(default=0, db_default=0)
    tax_minor = models.BigIntegerField(default=0, db_default=0)
    total_minor = models.BigIntegerField(default=0)
    # What credit notes took off again: the one amount that changes.
    credited_minor = models.BigIntegerField(default=0, db_default=0)
    # Why no tax is charged, where that has to be said.
    tax_note = models.CharField(max_length=200, blank=True, db_default="")
    # Whom it is made out to: name, display_name and email of the organization then, and its details.
    bill_to = models.JSONField(default=dict)
    # In whose name; null: in the seller's own.
    branding = models.ForeignKey(
        "billing.Branding", models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()
    finalized_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # Who marked it paid, void or uncollectible, and why.
    settled_by = models.CharField(max_length=255, blank=True)
    settlement_note = models.CharField(max_length=500, blank=True)
    # Of a draft of a closed period: it has no lines, and will never be given out.
    nothing_due = models.BooleanField(default=False)
    # The invoice at Stripe by which it is collected, or, of `stripe`, that it is a copy of.
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    # When Stripe was last told of it and of how it was settled.
    pushed_at = models.DateTimeField(null=True, blank=True)
    # When a card first did not pay it, and the last default that was tried for it.
    failed_at = models.DateTimeField(null=True, blank=True)
    tried_with = models.CharField(max_length=255, blank=True, db_default="")
    # Of what Stripe collects: what the customer's balance there, or a payment of a part, paid of it.
    # Below zero: what the customer owed before is collected with it.
    prepaid_minor = models.BigIntegerField(default=0, db_default=0)
    # Stripe's page where it can be paid.
    payment_url = models.TextField(blank=True, db_default="")
    source = models.CharField(
        max_length=8, choices=InvoiceSource.choices, default=InvoiceSource.USAGE
    )

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "period_start"],
                condition=Q(source=InvoiceSource.USAGE),
                name="billing_invoice_one_a_period",
            ),
            models.CheckConstraint(
                condition=Q(status__in=InvoiceStatus.values), name="billing_invoice_status"
            ),
            models.CheckConstraint(
                condition=Q(status=InvoiceStatus.DRAFT, number__isnull=True)
                | (~Q(status=InvoiceStatus.DRAFT) & Q(number__isnull=False)),
                name="billing_invoice_number",
            ),
            models.CheckConstraint(
                condition=Q(period_end__gte=F("period_start")), name="billing_invoice_forward"
            ),
            # What Stripe writes may be a credit.
            models.CheckConstraint(
                condition=Q(total_minor__gte=0) | Q(source=InvoiceSource.STRIPE),
                name="billing_invoice_total",
            ),
            models.CheckConstraint(
                condition=Q(credited_minor=0)
                | Q(credited_minor__gt=0, credited_minor__lte=F("total_minor")),
                name="billing_invoice_credited",
            ),
        ]
        indexes = [
            models.Index(
                fields=["period_end"],
                condition=Q(status=InvoiceStatus.DRAFT),
                name="billing_invoice_drafts",
            ),
            models.Index(
                fields=["org"], condition=Q(status=InvoiceStatus.OPEN), name="billing_invoice_open"
            ),
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"

    @property
    def due_minor(self) -> int:
        """What is still to be paid."""
        if self.status in (InvoiceStatus.PAID, InvoiceStatus.VOID):
            return 0
        return self.total_minor - self.credited_minor - self.prepaid_minor


class InvoiceLine(models.Model):
    """A line: so much for so many units, rounded once. Its invoice's total is the sum of its lines."""

    org = models.ForeignKey(
        "orgs.Organization",
        models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    # Found by the unique constraint's index.
    invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines", db_index=False)
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=16, choices=LineKind.choices)
    description = models.CharField(max_length=255)
    resource = models.CharField(max_length=16, blank=True)
    start = models.DateTimeField()
    end = models.DateTimeField()
    unit = models.CharField(max_length=32, blank=True)
    quantity = models.DecimalField(max_digits=60, decimal_places=12)
    included = models.DecimalField(max_digits=60, decimal_places=12, default=0)
    # In major units, as is the exact amount; what is owed is in minor units.
    unit_amount = models.DecimalField(max_digits=36, decimal_places=12)
    precise_amount = models.DecimalField(max_digits=60, decimal_places=24)
    amount_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "position"], name="billing_invoiceline_position"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=LineKind.values), name="billing_invoiceline_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.description}: {self.amount_minor}"
