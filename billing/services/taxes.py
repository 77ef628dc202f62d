"""Which tax an organization's invoices bear, by its billing details and the rates that staff keep."""

from datetime import date, datetime, timedelta

from django.conf import settings

from billing.models import BillingDetails, TaxRate
from billing.tax import Buyer, Rate, Tax, tax_of

# What is sold until midnight is sold on the day before.
INSTANT = timedelta(microseconds=1)


def tax_at(*, org_id: int, at: datetime) -> Tax:
    """The tax on a period that ends at a moment: what holds on its last day."""
    details = BillingDetails.objects.filter(org_id=org_id).first()
    if details is None:
        return Tax()
    return tax_for(details=details, on=(at - INSTANT).date())


def tax_for(*, details: BillingDetails, on: date) -> Tax:
    """The tax on a sale to whoever has these details, on a day."""
    rates = TaxRate.objects.filter(country=details.country, valid_from__lte=on)
    return tax_of(
        buyer=Buyer(
            country=details.country,
            state=details.state,
            tax_id_type=details.tax_id_type,
            exempt=details.tax_exempt,
        ),
        seller_country=settings.INVOICE_SELLER_COUNTRY,
        rates=[
            Rate(
                country=row.country,
                state=row.state,
                name=row.name,
                percentage=row.percentage,
                valid_from=row.valid_from,
                valid_until=row.valid_until,
                id=row.pk,
            )
            for row in rates
        ],
        on=on,
    )
