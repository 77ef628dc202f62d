"""Whom invoices are made out to, and in whose name they are printed."""

import hashlib
import re
from datetime import datetime
from typing import Any

from billing.models import BillingDetails, Branding, Partner
from billing.tax import clean_tax_id, tax_id_fits
from orgs.context import Actor
from orgs.models import Organization
from orgs.services.audit import record_event
from orgs.services.organizations import lock_organization
from spoke.core.errors import InvalidInput

# What is printed of an address, in the order of Stripe's names for it.
ADDRESS = ("line1", "line2", "city", "postal_code", "state", "country")
OWN = ("legal_name", *ADDRESS, "tax_id_type", "tax_id")


def lock_details(*, org_id: int, now: datetime) -> BillingDetails:
    """The organization's details, locked with it until the transaction ends; empty where none are."""
    lock_organization(org_id)
    rows = BillingDetails.objects.select_for_update()
    found, _ = rows.get_or_create(org_id=org_id, defaults={"updated_at": now, "revision": 0})
    return found


def change_details(
    *, org_id: int, changes: dict[str, Any], actor: Actor, now: datetime
) -> BillingDetails:
    """Exactly the named fields have their new values; nothing changed leaves no trace. Audited.

    Must run in a transaction. Raises InvalidInput for what is no country, whose tax nobody would find,
    and for a tax id that is not of its kind and country.
    """
    details = lock_details(org_id=org_id, now=now)
    for name, value in changes.items():
        setattr(details, name, clean_tax_id(value) if name == "tax_id" else value)
    before = BillingDetails.objects.get(pk=details.pk)
    changed = {
        name: getattr(details, name)
        for name in changes
        if getattr(before, name) != getattr(details, name)
    }
    if details.country and not re.fullmatch("[A-Z]{2}", details.country):
        raise InvalidInput("Two capital letters of ISO 3166-1.", field="country")
    _check_tax_id(details)
    if not changed:
        return before
    details.revision += 1
    details.updated_at, details.push_error = now, ""
    details.save()
    record_event(
        org_id=org_id,
        actor=actor,
        action="billing_details.updated",
        now=now,
        target=("billing_details", details.pk),
        data={name: str(value) for name, value in changed.items()},
    )
    return details


def _check_tax_id(details: BillingDetails) -> None:
    if bool(details.tax_id) != bool(details.tax_id_type):
        missing = "tax_id_type" if details.tax_id else "tax_id"
        raise InvalidInput("A tax id and its type go together.", field=missing)
    if details.tax_id and not tax_id_fits(
        kind=details.tax_id_type, value=details.tax_id, country=details.country
    ):
        raise InvalidInput(
            f"This is no {details.tax_id_type} of the address's country.", field="tax_id"
        )


def bill_to_of(org: Organization) -> dict[str, Any]:
    """Whom an invoice is made out to, as it stays with the invoice."""
    told = {"name": org.name, "display_name": org.display_name, "email": org.email}
    details = BillingDetails.objects.filter(org=org).first()
    return told | ({name: getattr(details, name) for name in OWN} if details else {})


def branding_of(*, org_id: int) -> Branding | None:
    """The branding of the organization's partner as it is now, kept for good; None without one."""
    rows = Partner.objects.filter(
        pk__in=BillingDetails.objects.filter(org_id=org_id).values("partner")
    )
    partner = rows.first()
    if partner is None:
        return None
    look = {
        "name": partner.name,
        "logo": bytes(partner.logo),
        "colour": partner.colour,
        "address": partner.address,
        "footer": partner.footer,
    }
    digest = hashlib.sha256(repr(look).encode()).hexdigest()
    Branding.objects.bulk_create([Branding(digest=digest, **look)], ignore_conflicts=True)
    return Branding.objects.get(digest=digest)
