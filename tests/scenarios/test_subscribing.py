"""An owner subscribes by card, and what the card does about it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection

from billing.services import by_card
from quotas.models import PlanTerm
from spoke.core import tenancy
from spoke.core.locks import held
from tests.support.stripe_world import utc
from tests.support.waiting import one_waits

SUBSCRIPTION = "/orgs/acme/subscription"


def subscribe(world, card="pm_card_visa", plan="pro", **more):
    wish = {"plan": plan, "payment_method_id": card, **more}
    return world.client().post(SUBSCRIPTION, wish)


def limit(world) -> int:
    return world.client().get("/orgs/acme/quotas").json()["max_modules"]


def test_a_card_that_pays_gives_the_plan_at_once(world):
    answer = subscribe(world)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert (body["status"], body["payment"]["status"]) == ("active", "succeeded")
    assert body["current_period_end"] == "2026-04-05T09:30:00Z"
    assert (world.plan(), limit(world)) == ("pro", 50)
    assert world.cards() == [("4242", True)]
    world.settle()
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert world.at_stripe() == [("subscription_create", 4_900, "paid")]
    assert subscribe(world).json()["code"] == "subscription_exists"
    assert len(world.at_stripe()) == 1


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_chargeCustomerFail", "generic_decline"),
    ],
)
def test_a_declined_card_changes_nothing(world, card, code):
    answer = subscribe(world, card)
    assert answer.status_code == 402
    assert answer.json()["decline_code"] == code
    world.settle()
    assert (world.plan(), limit(world)) == ("free", 5)
    assert world.client().get(SUBSCRIPTION).status_code == 404
    assert world.invoices() in ([], [("stripe", 4_900, "void")])
    # And then another card is taken.
    assert subscribe(world).status_code == 201
    assert world.plan() == "pro"


@pytest.mark.parametrize("ok", [True, False])
def test_3d_secure_holds_the_plan_back_until_the_bank_agrees(world, ok):
    answer = subscribe(world, "pm_card_threeDSecure2Required")
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert (body["status"], body["payment"]["status"]) == ("incomplete", "requires_action")
    intent = body["payment"]["client_secret"].partition("_secret_")[0]
    world.settle()
    assert world.plan() == "free"
    world.control.complete_3ds(intent, ok=ok)
    world.settle()
    assert world.plan() == ("pro" if ok else "free")
    if not ok:
        world.to(utc(3, 6, 10))
        assert world.client().get(SUBSCRIPTION).status_code == 404
        assert subscribe(world).status_code == 201


def test_twice_at_once_makes_one(world):
    key = {"HTTP_IDEMPOTENCY_KEY": "one"}
    wish = {"plan": "pro", "payment_method_id": "pm_card_visa"}
    first = world.client().post(SUBSCRIPTION, wish, **key)
    again = world.client().post(SUBSCRIPTION, wish, **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(world.at_stripe()) == 1


@pytest.mark.parametrize("kind", ["500", "disconnect_after"])
@pytest.mark.parametrize(
    "path", ["/v1/customers$", "/attach$", "/v1/customers/", "/v1/subscriptions$"]
)
def test_stripe_failing_at_any_step_leaves_what_the_same_call_finishes(world, kind, path):
    world.control.fault(kind, method="POST", path=path, times=10)
    failed = subscribe(world)
    assert failed.status_code == 503, failed.content
    assert failed.json()["code"] == "stripe_unavailable"
    assert failed.headers["Retry-After"]
    assert world.plan() == "free"
    world.control.clear_faults()
    answer = subscribe(world)
    assert answer.status_code == 201, answer.content
    world.settle()
    assert world.plan() == "pro"
    assert world.at_stripe() == [("subscription_create", 4_900, "paid")]
    assert len(world.fake.store.of("subscription")) == 1
    assert len(world.fake.store.of("customer")) == 1


def test_a_lost_answer_of_attach_leaves_one_card(world):
    """The clock is turned between the tries: what is asked for is the same, not the second."""
    world.control.fault("disconnect_after", method="POST", path="/attach$", times=10)
    assert subscribe(world).status_code == 503
    world.control.clear_faults()
    world.to(world.at + timedelta(seconds=90))
    answer = subscribe(world)
    assert answer.status_code == 201, answer.content
    world.settle()
    assert len(world.fake.store.of("payment_method")) == 1
    assert world.cards() == [("4242", True)]


def test_a_card_that_was_declined_may_be_tried_again(world):
    """A declined answer is not kept for the next subscription that is asked for."""
    assert subscribe(world, "pm_card_chargeDeclined").status_code == 402
    assert subscribe(world, "pm_card_chargeDeclined").status_code == 402
    assert subscribe(world).status_code == 201
    assert world.cards() == [("4242", True)]


def test_a_subscription_that_nobody_asks_for_again_is_found(world):
    world.control.fault("disconnect_after", method="POST", path="/v1/subscriptions$", times=10)
    assert subscribe(world).status_code == 503
    world.control.clear_faults()
    world.to(utc(3, 5, 10))
    assert world.plan() == "pro"
    assert world.at_stripe() == [("subscription_create", 4_900, "paid")]


def test_and_one_that_was_never_made_is_forgotten(world):
    world.control.fault("500", method="POST", path="/v1/subscriptions$", times=10)
    assert subscribe(world).status_code == 503
    world.control.clear_faults()
    assert world.client().get(SUBSCRIPTION).json()["status"] == "incomplete"
    world.to(utc(3, 5, 10))
    assert world.client().get(SUBSCRIPTION).status_code == 404
    assert world.at_stripe() == []


def test_only_owners_subscribe(world):
    for who, status in (("admin", 403), ("developer", 403), ("outsider", 404), ("staff", 403)):
        answer = world.client(who).post(SUBSCRIPTION, {"plan": "pro"})
        assert answer.status_code == status, who
    assert world.at_stripe() == []
    with tenancy.organization(world.acme):
        assert not PlanTerm.objects.filter(org_id=world.acme).exists()


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"plan": "gold"}, "plan"),
        ({"plan": "free"}, "plan"),
        ({"plan": "pro", "currency": "gbp"}, "plan"),
        ({"plan": "pro", "interval": "week"}, "interval"),
        ({"plan": "pro", "payment_method_id": "pm_nothing"}, "payment_method_id"),
        ({"plan": "pro", "payment_method_id": "pm_\u4e2d"}, "payment_method_id"),
        ({"plan": "pro", "trial_period_days": -1}, "trial_period_days"),
    ],
)
def test_bad_input_names_its_field_and_changes_nothing(world, wish, field):
    answer = world.client().post(SUBSCRIPTION, wish)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["field"] == field
    assert world.client().get(SUBSCRIPTION).status_code == 404
    assert world.at_stripe() == []


def test_a_webhook_of_the_same_subscription_is_waited_for(world):
    with at_work_with(world.acme) as done:
        waiting = threading.Thread(target=end_once_it_is_waited_for, args=[done])
        waiting.start()
        answer = subscribe(world)
        waiting.join(10)
    assert answer.status_code == 201, answer.content
    assert world.plan() == "pro"


def test_but_not_for_ever(world, monkeypatch):
    monkeypatch.setattr(by_card, "PATIENCE", 0.1)
    with at_work_with(world.acme):
        answer = subscribe(world)
    assert (answer.status_code, answer.json()["code"]) == (409, "in_progress")
    assert answer.headers["Retry-After"] == "1"
    assert (world.plan(), world.at_stripe()) == ("free", [])
    assert subscribe(world).status_code == 201


@contextmanager
def at_work_with(org_id: int) -> Iterator[Callable[[], None]]:
    """Something else works at the organization's subscription until the function is called."""
    begun, end = threading.Event(), threading.Event()

    def work():
        try:
            with held(by_card.lock_name(org_id)):
                begun.set()
                assert end.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    try:
        yield end.set
    finally:
        end.set()
        thread.join(10)


def end_once_it_is_waited_for(end: Callable[[], None]) -> None:
    try:
        assert one_waits()
        end()
    finally:
        connection.close()
