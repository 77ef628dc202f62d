"""Without a key of Stripe's billing by card says that it is not set up, to those who may ask."""

import pytest
from rest_framework.test import APIClient

from tests.architecture.test_hostile_input import row_counts


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/orgs/acme/subscription", {"plan": "pro", "payment_method_id": "pm_card_visa"}),
        ("patch", "/orgs/acme/subscription", {"plan": "enterprise"}),
        ("post", "/orgs/acme/subscription/cancel", {"immediately": False}),
        ("post", "/orgs/acme/subscription/preview", {"plan": "pro"}),
        ("post", "/orgs/acme/payment-methods", {"stripe_payment_method_id": "pm_1"}),
        ("put", "/orgs/acme/payment-methods/pm_1/default", None),
        ("post", "/orgs/acme/billing/portal", None),
    ],
)
def test_an_owner_gets_a_501_with_a_clear_code(org_id, api, method, path, body):
    client = api("owner")
    before = row_counts()
    response = getattr(client, method)(path, body)
    assert response.status_code == 501
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "billing_not_available"
    assert row_counts() == before


def test_bad_input_is_refused_before_that(org_id, api):
    response = api("owner").post("/orgs/acme/subscription", {"plan": "gold"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "plan"


@pytest.mark.django_db
def test_the_webhook_keeps_nothing():
    before = row_counts()
    response = APIClient().post("/billing/webhook", {"id": "evt_1"})
    assert (response.status_code, response.json()["code"]) == (501, "billing_not_available")
    assert row_counts() == before
