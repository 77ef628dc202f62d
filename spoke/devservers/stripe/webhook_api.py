"""Events and webhook endpoints: what is asked for over HTTP."""

import secrets
from typing import Any

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.routes import PAGING, lists, matching, page, route
from spoke.devservers.stripe.store import Object, Store

Params = dict[str, Any]
ENDPOINT = "url enabled_events description metadata disabled"


@route("POST", "/v1/webhook_endpoints", f"{ENDPOINT} api_version connect secret")
def make_endpoint(store: Store, params: Params) -> Object:
    """The secret is in this answer only."""
    secret = f"whsec_{secrets.token_urlsafe(24)}"
    made = store.add(
        "webhook_endpoint",
        {
            "api_version": forms.text(params, "api_version"),
            "application": None,
            "description": forms.text(params, "description"),
            "enabled_events": forms.required(params, "enabled_events"),
            "metadata": forms.metadata({}, params),
            "status": "enabled",
            "url": forms.required(params, "url"),
            "_secret": secret,
        },
    )
    return {**made, "secret": secret}


@route("POST", "/v1/webhook_endpoints/{}", ENDPOINT)
def change_endpoint(store: Store, params: Params, name: str) -> Object:
    found = store.get("webhook_endpoint", name)
    for key in ("url", "enabled_events", "description"):
        if key in params:
            found[key] = params[key]
    found["metadata"] = forms.metadata(found["metadata"], params)
    if "disabled" in params:
        found["status"] = "disabled" if forms.flag(params, "disabled") else "enabled"
    return found


@route("DELETE", "/v1/webhook_endpoints/{}")
def delete_endpoint(store: Store, params: Params, name: str) -> Object:
    store.get("webhook_endpoint", name)
    del store.of("webhook_endpoint")[name]
    return {"id": name, "object": "webhook_endpoint", "deleted": True}


@route("GET", "/v1/events", f"{PAGING} created type types delivery_success")
def list_events(store: Store, params: Params) -> Object:
    rows = matching(store.newest("event"), params, "type created")
    if params.get("types"):
        rows = [row for row in rows if row["type"] in params["types"]]
    if "delivery_success" in params:
        wanted = forms.flag(params, "delivery_success")
        rows = [row for row in rows if row.get("_delivered", False) == wanted]
    return page(rows, params, "/v1/events")


@route("GET", "/v1/events/{}")
def read_event(store: Store, params: Params, name: str) -> Object:
    return store.get("event", name)


lists("webhook_endpoint", "/v1/webhook_endpoints")
