"""An owner subscribes, changes and cancels on the pages, and sees what it costs before."""

from datetime import timedelta

import pytest
import requests
from django.test import Client

from tests.scenarios.conftest import world  # noqa: F401 - a fixture
from tests.support.stripe_world import utc

HOUR = timedelta(hours=1)

PLAN, BILLING = "/app/acme/plan", "/app/acme/billing"
WISH = {"plan": "enterprise", "interval": "month"}


@pytest.fixture
def owner(world) -> Client:  # noqa: F811
    client = Client(headers={"accept": "text/html"})
    client.force_login(world.cast.owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_plan_is_changed_after_its_price_is_seen(world, owner):  # noqa: F811
    world.client().post(
        "/orgs/acme/subscription", {"plan": "pro", "payment_method_id": "pm_card_visa"}
    )
    world.settle()
    shown = owner.get(BILLING).text
    assert "•••• 4242" in shown
    assert "49.00 USD" in shown
    asked = owner.post(PLAN, {"do": "choose", **WISH})
    assert "Change to enterprise, by month?" in asked.text
    assert "450.00 USD" in asked.text
    assert world.plan() == "pro"
    done = owner.post(PLAN, {"do": "choose", **WISH, "confirmed": "yes"})
    assert done.headers["Location"] == BILLING
    assert world.plan() == "enterprise"
    asked = owner.post(BILLING, {"do": "cancel"})
    assert "5 April 2026, 09:30 UTC" in asked.text
    assert world.client().get("/orgs/acme/subscription").json()["cancel_at_period_end"] is False
    owner.post(BILLING, {"do": "cancel", "confirmed": "yes"})
    assert "Ends on" in owner.get(BILLING).text
    owner.post(BILLING, {"do": "reactivate"})
    assert world.client().get("/orgs/acme/subscription").json()["cancel_at_period_end"] is False


def test_without_a_card_the_way_leads_to_stripe_and_back(world, owner):  # noqa: F811
    assert 'name="do" value="checkout"' in owner.get(PLAN).text.replace("\n", " ")
    led = owner.post(
        PLAN, {"do": "checkout", "plan": "pro", "interval": "month", "currency": "usd"}
    )
    assert led.status_code == 302
    assert led.headers["Location"].startswith(f"{world.fake.url}/checkout/")
    assert owner.post(BILLING, {"do": "portal"}).headers["Location"].startswith(world.fake.url)


def test_what_is_overdue_is_shown_with_a_link_to_pay_it(world, owner):  # noqa: F811
    world.subscribe()
    assert "Overdue" not in owner.get(BILLING).text
    world.to(utc(4, 5) - HOUR)
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + HOUR, step=HOUR)
    # A month is longer than a session.
    owner.force_login(world.cast.owner, backend="django.contrib.auth.backends.ModelBackend")
    (late,) = world.client().get("/orgs/acme/billing/balance").json()["invoices"]
    page = " ".join(owner.get(BILLING).text.split())
    assert f"{late['number']}: 49.00 USD, since" in page
    assert "Everything works until 19 April 2026, 10:30 UTC." in page
    assert f'href="{late["payment_url"]}"' in page
    world.control.fix_card(world.customer())
    requests.post(late["payment_url"], data={"number": "4242424242424242"}, timeout=10)
    world.settle()
    assert "Overdue" not in owner.get(BILLING).text
