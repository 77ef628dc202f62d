"""Payment methods, and Stripe's pages for them."""

from datetime import timedelta

import requests

from quotas.tests.threads import at_once
from tests.support.stripe_world import utc

METHODS = "/orgs/acme/payment-methods"
SUBSCRIPTION = "/orgs/acme/subscription"


def add(world, token, **more):
    return world.client().post(METHODS, {"stripe_payment_method_id": token, **more})


def test_cards_are_added_chosen_and_removed(world):
    first = add(world, "pm_card_visa")
    assert (first.status_code, first.json()["is_default"]) == (201, True)
    second = add(world, "pm_card_mastercard").json()
    assert world.cards() == [("4242", True), ("4444", False)]
    name = second["stripe_payment_method_id"]
    chosen = world.client().put(f"{METHODS}/{name}/default")
    assert (chosen.status_code, chosen.json()["is_default"]) == (200, True)
    assert world.cards() == [("4242", False), ("4444", True)]
    listed = world.client("admin").get(METHODS).json()["results"]
    assert {row["last4"] for row in listed} == {"4242", "4444"}
    gone = world.client().delete(f"{METHODS}/{first.json()['stripe_payment_method_id']}")
    assert gone.status_code == 204
    assert world.cards() == [("4444", True)]
    world.settle()
    assert world.cards() == [("4444", True)]
    assert world.client().delete(f"{METHODS}/pm_nothing").status_code == 404


def test_what_a_subscription_is_paid_by_stays(world):
    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    name = world.client().get(METHODS).json()["results"][0]["stripe_payment_method_id"]
    refused = world.client().delete(f"{METHODS}/{name}")
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_method_needed")
    assert world.cards() == [("4242", True)]


def test_a_declined_card_is_not_added(world):
    refused = add(world, "pm_card_chargeDeclined")
    assert (refused.status_code, refused.json()["code"]) == (402, "card_declined")
    for unknown in ("pm_nothing", "pm_x/../../customers", "pm_\N{PILE OF POO}", "pm_ x"):
        answer = add(world, unknown)
        assert answer.status_code == 400, answer.content
        assert answer.json()["errors"][0]["field"] == "stripe_payment_method_id"
    assert world.cards() == []


def test_a_lost_answer_of_attach_leaves_one_card(world):
    key = {"HTTP_IDEMPOTENCY_KEY": "the-card"}
    wish = {"stripe_payment_method_id": "pm_card_visa"}
    world.control.fault("disconnect_after", method="POST", path="/attach$", times=10)
    assert world.client().post(METHODS, wish, **key).status_code == 503
    world.control.clear_faults()
    world.to(world.at + timedelta(seconds=90))
    assert world.client().post(METHODS, wish, **key).status_code == 201
    world.settle()
    assert world.cards() == [("4242", True)]
    assert len(world.fake.store.of("payment_method")) == 1
    # Without the key, or with another one, another card is meant.
    assert world.client().post(METHODS, wish).status_code == 201
    assert len(world.cards()) == 2


def test_a_page_adds_a_card_by_an_intent(world):
    begun = world.client().post(f"{METHODS}/setup-intent")
    assert begun.status_code == 201
    body = begun.json()
    assert body["client_secret"].startswith(f"{body['id']}_secret_")
    url = f"{world.fake.url}/v1/setup_intents/{body['id']}/confirm"
    requests.post(url, data={"payment_method": "pm_card_visa"}, auth=("sk_test_x", ""), timeout=10)
    world.settle()
    assert [last4 for last4, _ in world.cards()] == ["4242"]


def test_subscribing_on_the_page_of_checkout(world):
    made = world.client().post("/orgs/acme/billing/checkout", {"plan": "pro"})
    assert made.status_code == 201
    page = made.json()["url"]
    assert "4900" in requests.get(page, timeout=10).text.replace(".", "")
    declined = requests.post(page, data={"number": "4000 0000 0000 0002"}, timeout=10)
    assert "declined" in declined.text
    paid = requests.post(
        page, data={"number": "4242424242424242"}, timeout=10, allow_redirects=False
    )
    assert paid.status_code == 303
    world.settle()
    assert (world.plan(), world.cards()) == ("pro", [("4242", True)])
    assert world.invoices() == [("stripe", 4_900, "paid")]


def test_cancelling_in_the_portal(world):
    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    page = world.client().post("/orgs/acme/billing/portal", {}).json()["url"]
    name = next(iter(world.fake.store.of("subscription")))
    requests.post(page, data={"do": "cancel", "sub": name}, timeout=10)
    world.settle()
    assert world.client().get(SUBSCRIPTION).json()["cancel_at_period_end"] is True
    world.to(utc(4, 6))
    assert world.plan() == "free"


def test_pages_of_checkout_that_were_left_open_do_not_bill_a_second_time(world):
    opened = [world.client().post("/orgs/acme/billing/checkout", {"plan": "pro"}) for _ in range(2)]
    first, second = (answer.json()["url"] for answer in opened)
    card = {"number": "4242424242424242"}
    assert "This session is over" in requests.post(first, data=card, timeout=10).text
    world.subscribe()
    assert "This session is over" in requests.post(second, data=card, timeout=10).text
    world.settle()
    assert len(world.fake.store.of("subscription")) == 1
    assert world.at_stripe() == [("subscription_create", 4_900, "paid")]


def test_cards_that_are_chosen_at_once_leave_the_one_that_stripe_has(world):
    add(world, "pm_card_visa")
    name = world.customer()
    tokens = ["pm_card_visa", "pm_card_mastercard"]
    clients = [world.client() for _ in range(6)]

    def choose(n):
        wish = {"stripe_payment_method_id": tokens[n % 2], "set_as_default": True}
        return clients[n].post(METHODS, wish).status_code

    statuses, errors = at_once(6, choose)
    assert (errors, set(statuses)) == ([], {201})
    chosen = world.fake.store.of("customer")[name]["invoice_settings"]["default_payment_method"]
    rows = world.client().get(METHODS).json()["results"]
    assert [row["stripe_payment_method_id"] for row in rows if row["is_default"]] == [chosen]
