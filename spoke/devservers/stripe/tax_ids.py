"""Tax ids of customers."""

from typing import Any

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.errors import Refusal, missing
from spoke.devservers.stripe.routes import PAGING, page, route
from spoke.devservers.stripe.store import Object, Store

Params = dict[str, Any]
MOST = 5
# By these, the country is known; an EU VAT number begins with its own.
COUNTRIES = {"gb_vat": "GB", "ch_vat": "CH", "us_ein": "US", "au_abn": "AU", "ca_bn": "CA"}


@route("POST", "/v1/customers/{}/tax_ids", "type value")
def make_tax_id(store: Store, params: Params, name: str) -> Object:
    """Verified at once, but for values that end in 000."""
    return add(store, store.alive(name), params)


def add(store: Store, customer: Object, params: Params) -> Object:
    """Another tax id of a customer. Refuses a sixth."""
    if len(of(store, customer["id"])) >= MOST:
        raise Refusal(f"You cannot have more than {MOST} tax IDs.", code="customer_max_tax_ids")
    kind, value = forms.required(params, "type"), forms.required(params, "value")
    country = value[:2].upper() if kind == "eu_vat" else COUNTRIES.get(kind)
    if kind == "eu_vat" and not (country or "").isalpha():
        raise Refusal("Invalid value for eu_vat.", code="tax_id_invalid", param="value")
    made = store.add(
        "tax_id",
        {
            "country": country,
            "customer": customer["id"],
            "customer_account": None,
            "owner": {
                "application": None,
                "customer": customer["id"],
                "customer_account": None,
                "type": "customer",
            },
            "type": kind,
            "value": value,
            "verification": {
                "status": "unverified" if value.endswith("000") else "verified",
                "verified_address": None,
                "verified_name": None,
            },
        },
    )
    store.emit("customer.tax_id.created", made)
    return made


def of(store: Store, customer: str) -> list[Object]:
    """A customer's tax ids, newest first."""
    return [row for row in store.newest("tax_id") if row["customer"] == customer]


@route("GET", "/v1/customers/{}/tax_ids", PAGING)
def list_tax_ids(store: Store, params: Params, name: str) -> Object:
    return page(of(store, name), params, f"/v1/customers/{name}/tax_ids")


@route("GET", "/v1/tax_ids", f"{PAGING} owner")
def list_by_owner(store: Store, params: Params) -> Object:
    """Of a customer; those of the account itself are none."""
    owner = params.get("owner") or {}
    rows = of(store, owner.get("customer", "")) if owner.get("type") == "customer" else []
    return page(rows, params, "/v1/tax_ids")


def _of_customer(store: Store, customer: str, name: str) -> Object:
    found = store.of("tax_id").get(name)
    if found is None or found["customer"] != customer:
        raise missing("tax_id", name)
    return found


@route("GET", "/v1/customers/{}/tax_ids/{}")
def read_tax_id(store: Store, params: Params, customer: str, name: str) -> Object:
    return _of_customer(store, customer, name)


@route("DELETE", "/v1/customers/{}/tax_ids/{}")
def delete_tax_id(store: Store, params: Params, customer: str, name: str) -> Object:
    found = _of_customer(store, customer, name)
    del store.of("tax_id")[name]
    store.emit("customer.tax_id.deleted", found)
    return {"id": name, "object": "tax_id", "deleted": True}
