"""Who is billed, at which rate of tax, and under whose name documents are printed."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from billing.tax import TAX_ID_PATTERNS

COUNTRY = RegexValidator(r"\A[A-Z]{2}\Z", "Two capital letters of ISO 3166-1.")
COLOUR = RegexValidator(r"\A#[0-9a-f]{6}\Z", "A colour as #1a2b3c.")


class Branding(models.Model):
    """A partner's branding as some document shows it. Never changes: the next one is another row."""

    # SHA-256 of all the rest.
    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    logo = models.BinaryField()
    colour = models.CharField(max_length=7, blank=True)
    address = models.TextField(blank=True)
    footer = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.name


class Partner(models.Model):
    """Who sells Spoke in their own name. Documents that are given out keep the branding of then."""

    name = models.CharField(max_length=100, unique=True)
    # A PNG, or nothing.
    logo = models.BinaryField(default=bytes, blank=True)
    colour = models.CharField(max_length=7, blank=True, validators=[COLOUR])
    address = models.TextField(blank=True, max_length=500)
    footer = models.TextField(blank=True, max_length=500)

    def __str__(self) -> str:
        return self.name


class TaxRate(models.Model):
    """A tax on sales to a country, or to a state of it, from a day until before another.

    The database lets no two overlap, and changes nothing of one but its end: documents and Stripe's
    copy say it as it was.
    """

    country = models.CharField(max_length=2, validators=[COUNTRY])
    # As in addresses there, "CA"; empty: all of the country that has no rate of its own.
    state = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=50)
    percentage = models.DecimalField(
        max_digits=7,
        decimal_places=4,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    valid_from = models.DateField()
    valid_until = models.DateField(null=True, blank=True)
    # Stripe's tax rate of it, once one is needed.
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(percentage__gte=0, percentage__lte=100),
                name="billing_taxrate_percentage",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="billing_taxrate_forward",
            ),
            models.CheckConstraint(
                condition=Q(country__regex="^[A-Z]{2}$"), name="billing_taxrate_country"
            ),
        ]

    def __str__(self) -> str:
        where = "-".join(part for part in (self.country, self.state) if part)
        return f"{where} {self.name} {self.percentage.normalize():f}%"


class BillingDetails(models.Model):
    """Whom an organization's invoices are made out to, where that is more than its name."""

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="billing_details")
    legal_name = models.CharField(max_length=200, blank=True)
    line1 = models.CharField(max_length=200, blank=True)
    line2 = models.CharField(max_length=200, blank=True)
    city = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=64, blank=True)
    country = models.CharField(max_length=2, blank=True)
    tax_id_type = models.CharField(
        max_length=16, blank=True, choices=[(name, name) for name in sorted(TAX_ID_PATTERNS)]
    )
    tax_id = models.CharField(max_length=32, blank=True)
    # Only staff set these two.
    tax_exempt = models.BooleanField(default=False)
    partner = models.ForeignKey(Partner, models.PROTECT, null=True, blank=True, related_name="+")
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()
    # The revision that Stripe's customer is as, and why it is no newer one.
    pushed_revision = models.PositiveIntegerField(default=0)
    push_error = models.CharField(max_length=500, blank=True)

    class Meta:
        verbose_name_plural = "billing details"
        constraints = [
            models.CheckConstraint(
                condition=Q(tax_id="", tax_id_type="") | (~Q(tax_id="") & ~Q(tax_id_type="")),
                name="billing_details_tax_id",
            ),
        ]
        indexes = [
            models.Index(
                fields=["org"],
                condition=Q(pushed_revision__lt=F("revision")),
                name="billing_details_to_push",
            )
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: {self.legal_name}"
