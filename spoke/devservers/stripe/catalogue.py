"""The account, products, prices and tax rates."""

from decimal import Decimal
from typing import Any

from spoke.devservers.stripe import blanks, forms, tariffs, taxes
from spoke.devservers.stripe.errors import Refusal, invalid, missing
from spoke.devservers.stripe.routes import PAGING, empty, lists, matching, page, route
from spoke.devservers.stripe.store import Object, Store

Params = dict[str, Any]
ACCOUNT = "acct_spokefake00000001"
NAME = "Spoke (development)"
PRODUCT = "active description metadata name tax_code url unit_label statement_descriptor"
PRICE = (
    "active billing_scheme currency currency_options lookup_key metadata nickname product recurring"
    " tax_behavior tiers tiers_mode transfer_lookup_key unit_amount unit_amount_decimal"
)


@route("GET", "/v1/account")
def account(store: Store, params: Params) -> Object:
    """The one account."""
    if ACCOUNT in store.of("account"):
        return store.get("account", ACCOUNT)
    return store.add(
        "account",
        {
            **blanks.ACCOUNT,
            "id": ACCOUNT,
            "business_profile": {**blanks.ACCOUNT["business_profile"], "name": NAME},
            "business_type": "company",
            "charges_enabled": True,
            "country": "US",
            "default_currency": "usd",
            "details_submitted": True,
            "email": "billing@example.com",
            "metadata": {},
            "payouts_enabled": True,
            "settings": {
                **blanks.ACCOUNT["settings"],
                "dashboard": {"display_name": NAME, "timezone": "Etc/UTC"},
            },
            "type": "standard",
        },
    )


@route("GET", "/v1/accounts/{}")
def account_by_id(store: Store, params: Params, name: str) -> Object:
    return account(store, params)


@route("GET", "/v1/accounts", "limit starting_after ending_before")
def accounts(store: Store, params: Params) -> Object:
    return {"object": "list", "data": [], "has_more": False, "url": "/v1/accounts"}


@route("GET", "/v2/core/accounts", "applied_configurations closed include limit page")
def accounts_of_v2(store: Store, params: Params) -> Object:
    return {"data": [], "next_page_url": None, "previous_page_url": None}


@route("POST", "/v1/products", f"id {PRODUCT}")
def make_product(store: Store, params: Params) -> Object:
    name = params.get("id")
    if name and name in store.of("product"):
        raise Refusal(f"Product already exists: {name}", code="resource_already_exists")
    made = store.add(
        "product",
        {
            **({"id": name} if name else {}),
            "active": forms.flag(params, "active", default=True),
            "default_price": None,
            "description": forms.text(params, "description"),
            "images": [],
            "marketing_features": [],
            "metadata": forms.metadata({}, params),
            "name": forms.required(params, "name"),
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": forms.text(params, "statement_descriptor"),
            "tax_code": forms.text(params, "tax_code"),
            "type": "service",
            "unit_label": forms.text(params, "unit_label"),
            "updated": store.now(),
            "url": forms.text(params, "url"),
        },
    )
    store.emit("product.created", made)
    return made


@route("POST", "/v1/products/{}", PRODUCT)
def change_product(store: Store, params: Params, name: str) -> Object:
    found = store.get("product", name)
    with store.changing(found, "product.updated"):
        for key in ("name", "description", "url", "tax_code", "unit_label"):
            if key in params:
                found[key] = forms.text(params, key)
        found["active"] = forms.flag(params, "active", default=found["active"])
        found["metadata"] = forms.metadata(found["metadata"], params)
    return found


@route("POST", "/v1/prices", PRICE)
def make_price(store: Store, params: Params) -> Object:
    product = store.get("product", forms.required(params, "product"), param="product")
    currency = str(forms.required(params, "currency")).lower()
    lookup = forms.text(params, "lookup_key")
    _take_lookup_key(store, lookup, move=forms.flag(params, "transfer_lookup_key"))
    tiered = params.get("billing_scheme") == "tiered"
    amount, exact = (None, None) if tiered else tariffs.unit(params)
    recurring = params.get("recurring")
    made = store.add(
        "price",
        {
            "active": forms.flag(params, "active", default=True),
            "billing_scheme": params.get("billing_scheme", "per_unit"),
            "currency": currency,
            "custom_unit_amount": None,
            "lookup_key": lookup,
            "metadata": forms.metadata({}, params),
            "nickname": forms.text(params, "nickname"),
            "product": product["id"],
            "recurring": recurring
            and {
                "interval": forms.required(recurring, "interval"),
                "interval_count": forms.integer(recurring, "interval_count", 1),
                "meter": None,
                "trial_period_days": None,
                "usage_type": recurring.get("usage_type", "licensed"),
            },
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "tiers_mode": forms.text(params, "tiers_mode"),
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": exact,
            "_options": tariffs.options(params),
            "_tiers": tariffs.tiers(params) if tiered else None,
        },
    )
    store.emit("price.created", made)
    return made


def _take_lookup_key(store: Store, lookup: str | None, *, move: bool) -> None:
    for other in store.of("price").values():
        if lookup and other["lookup_key"] == lookup:
            if not move:
                raise invalid(f"A price already uses the lookup key {lookup}.", "lookup_key")
            other["lookup_key"] = None


@route("POST", "/v1/prices/{}", "active lookup_key metadata nickname tax_behavior")
def change_price(store: Store, params: Params, name: str) -> Object:
    found = store.get("price", name)
    with store.changing(found, "price.updated"):
        found["active"] = forms.flag(params, "active", default=found["active"])
        found["metadata"] = forms.metadata(found["metadata"], params)
        for key in ("nickname", "lookup_key"):
            if key in params:
                found[key] = forms.text(params, key)
    return found


@route("POST", "/v1/tax_rates", "active country description display_name inclusive metadata"
       " percentage state tax_type jurisdiction")  # fmt: skip
def make_tax_rate(store: Store, params: Params) -> Object:
    percentage = Decimal(str(forms.required(params, "percentage")))
    texts = ("country", "description", "jurisdiction", "state", "tax_type")
    return taxes.add_rate(
        store,
        forms.required(params, "display_name"),
        str(percentage),
        active=forms.flag(params, "active", default=True),
        inclusive=forms.flag(params, "inclusive"),
        metadata=forms.metadata({}, params),
        **{name: forms.text(params, name) for name in texts},
    )


@route("GET", "/v1/products", f"{PAGING} active ids url")
def list_products(store: Store, params: Params) -> Object:
    rows = matching(store.newest("product"), params, "active url")
    if params.get("ids"):
        rows = [row for row in rows if row["id"] in params["ids"]]
    return page(rows, params, "/v1/products")


@route("GET", "/v1/products/{}")
def read_product(store: Store, params: Params, name: str) -> Object:
    return store.get("product", name)


@route("GET", "/v1/products/{}/features", PAGING)
def product_features(store: Store, params: Params, name: str) -> Object:
    return page([], params, f"/v1/products/{name}/features")


@route("GET", "/v1/prices", f"{PAGING} active currency product type lookup_keys")
def list_prices(store: Store, params: Params) -> Object:
    rows = matching(store.newest("price"), params, "active currency product type")
    if params.get("lookup_keys"):
        rows = [row for row in rows if row["lookup_key"] in params["lookup_keys"]]
    return page(rows, params, "/v1/prices")


@route("GET", "/v1/prices/{}")
def read_price(store: Store, params: Params, name: str) -> Object:
    return store.get("price", name)


@route("GET", "/v1/plans", f"{PAGING} active product")
def list_plans(store: Store, params: Params) -> Object:
    """Recurring prices, in the older form."""
    rows = matching(store.newest("price"), params, "active product")
    plans = [plan for row in rows if (plan := tariffs.plan_of(row))]
    return page(plans, params, "/v1/plans")


@route("GET", "/v1/plans/{}")
def read_plan(store: Store, params: Params, name: str) -> Object:
    plan = tariffs.plan_of(store.get("price", name))
    if plan is None:
        raise missing("plan", name)
    return plan


lists("tax_rate", "/v1/tax_rates", "active inclusive")
for path in (
    *("balance_transactions", "country_specs", "files", "file_links", "mandates"),
    *("payouts", "promotion_codes", "reviews", "shipping_rates", "sources", "transfers"),
    *("subscription_schedules", "tax_codes", "application_fees", "entitlements/features"),
    *(
        "radar/early_fraud_warnings",
        "reporting/report_runs",
        "topups",
        "invoice_rendering_templates",
    ),
    *("issuing/authorizations", "issuing/cardholders", "issuing/cards", "issuing/disputes"),
    *("issuing/transactions", "identity/verification_sessions", "identity/verification_reports"),
    *("sigma/scheduled_query_runs", "billing/meters"),
    "entitlements/active_entitlements",
):
    empty(f"/v1/{path}")
