"""What lowers or gives back what is owed: credits, and credit notes."""

from django.db import models
from django.db.models import F, Q

from spoke.core.money import format_minor


class Credit(models.Model):
    """An amount that pays for what comes, given by staff or by a credit note.

    One of staff's lowers what is taxed. One of a credit note is money that was paid, tax included: it is
    taken off after tax.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="credits")
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField()
    remaining_minor = models.BigIntegerField()
    reason = models.CharField(max_length=200)
    granted_by = models.CharField(max_length=255)
    # The lowest is used first.
    priority = models.PositiveSmallIntegerField(default=100)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    note = models.OneToOneField(
        "billing.CreditNote", models.PROTECT, null=True, blank=True, related_name="credit"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="billing_credit_amount"),
            models.CheckConstraint(
                condition=Q(remaining_minor__gte=0) & Q(remaining_minor__lte=F("amount_minor")),
                name="billing_credit_remaining",
            ),
        ]
        indexes = [
            models.Index(
                fields=["org", "currency"],
                condition=Q(remaining_minor__gt=0),
                name="billing_credit_left",
            )
        ]

    def __str__(self) -> str:
        left = format_minor(self.remaining_minor, self.currency)
        whole = format_minor(self.amount_minor, self.currency)
        return f"{self.reason}: {left} of {whole} {self.currency.upper()}"


class CreditApplication(models.Model):
    """So much of a credit went into an invoice, and came back if that was voided."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    credit = models.ForeignKey(Credit, models.CASCADE, related_name="applications")
    invoice = models.ForeignKey("billing.Invoice", models.PROTECT, related_name="applications")
    amount_minor = models.BigIntegerField()
    applied_at = models.DateTimeField()
    returned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "credit"], name="billing_creditapplication_once"
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="billing_creditapplication_amount"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_minor} of credit {self.credit_id}"


class NoteKind(models.TextChoices):
    """How an amount is given back: as money, as a credit, or as less to pay of an open invoice."""

    REFUND = "refund"
    CREDIT = "credit"
    REDUCTION = "reduction"


class NoteStatus(models.TextChoices):
    """Whether what a note promises is done. Only Stripe, or a note that it refused, makes one void."""

    ISSUED = "issued"
    SETTLED = "settled"
    VOID = "void"


class NoteSource(models.TextChoices):
    """Who wrote a note: we, or somebody in Stripe's dashboard."""

    SPOKE = "spoke"
    STRIPE = "stripe"


class CreditNote(models.Model):
    """A correction of an invoice that was given out; amounts in minor units, tax included.

    Like an invoice it does not change, but for how it was settled, and outlives its organization.
    """

    org = models.ForeignKey(
        "orgs.Organization", models.DO_NOTHING, related_name="+", db_constraint=False
    )
    invoice = models.ForeignKey(
        "billing.Invoice", models.PROTECT, related_name="credit_notes", db_index=True
    )
    number = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=9, choices=NoteKind.choices)
    amount_minor = models.BigIntegerField()
    # The part of it that is tax.
    tax_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=500)
    created_by = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    source = models.CharField(max_length=8, choices=NoteSource.choices, default=NoteSource.SPOKE)
    status = models.CharField(max_length=8, choices=NoteStatus.choices, default=NoteStatus.ISSUED)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=255, blank=True)
    # Stripe's credit note, or the refund that this is a copy of.
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    pushed_at = models.DateTimeField(null=True, blank=True)
    push_error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="billing_creditnote_amount"
            ),
            models.CheckConstraint(
                condition=Q(tax_minor__gte=0) & Q(tax_minor__lte=F("amount_minor")),
                name="billing_creditnote_tax",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=NoteKind.values), name="billing_creditnote_kind"
            ),
            models.CheckConstraint(
                condition=Q(status__in=NoteStatus.values), name="billing_creditnote_status"
            ),
            models.CheckConstraint(
                condition=Q(source__in=NoteSource.values), name="billing_creditnote_source"
            ),
        ]
        indexes = [
            models.Index(
                fields=["org"],
                condition=Q(pushed_at__isnull=True),
                name="billing_creditnote_to_push",
            )
        ]

    def __str__(self) -> str:
        return self.number
