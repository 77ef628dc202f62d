"""A budget is in the currency that the organization pays in; another is refused."""

import pytest

from conftest import door
from orgs.models import AuditEvent
from quotas.models import Budget

URL = "/orgs/acme/budget"


@pytest.mark.parametrize("currency", ["eur", "usd"])
def test_the_currency_is_the_subscriptions_unless_said(api, org_id, subscribe, currency):
    subscribe("pro", currency=currency)
    assert api("owner").get(URL).json()["currency"] == currency
    done = api("owner").put(URL, {"amount_cents": 2_000}, format="json")
    assert (done.status_code, done.json()["currency"]) == (200, currency)
    with door():
        assert Budget.objects.get().currency == currency


def test_one_that_would_never_be_reached_is_refused(api, org_id, subscribe):
    subscribe("pro", currency="eur")
    refused = api("owner").put(URL, {"amount_cents": 2_000, "currency": "usd"}, format="json")
    assert refused.status_code == 400
    assert refused.json()["errors"] == [
        {
            "field": "currency",
            "code": "invalid",
            "detail": "Overage is billed in eur: a budget in usd would never be reached.",
        }
    ]
    with door():
        assert not Budget.objects.exists()
        assert not AuditEvent.objects.filter(action="budget.changed").exists()


def test_without_a_subscription_any_priced_currency_waits_for_one(api, org_id):
    assert api("owner").get(URL).json()["currency"] == "usd"
    done = api("owner").put(URL, {"amount_cents": 2_000, "currency": "eur"}, format="json")
    assert done.json()["currency"] == "eur"


def test_one_of_another_currency_can_be_taken_away(api, org_id, subscribe):
    api("owner").put(URL, {"amount_cents": 2_000, "currency": "eur"}, format="json")
    subscribe("pro", currency="usd")
    kept = api("owner").put(URL, {"action": "block"}, format="json")
    assert kept.json()["errors"][0]["field"] == "currency"
    assert api("owner").put(URL, {"amount_cents": None}, format="json").status_code == 200
    changed = api("owner").put(URL, {"amount_cents": 5, "action": "block"}, format="json")
    assert (changed.status_code, changed.json()["currency"]) == (200, "usd")
