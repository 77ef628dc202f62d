"""Open invoices and another card: it is tried once, whoever dies meanwhile and whatever is not told."""

from datetime import timedelta

import pytest

from billing import tasks
from billing.services import retries, stripe_invoices
from billing.stripe import gateway
from quotas.tests.threads import at_once
from tests.scenarios.test_overdue import (
    BASE,
    METHODS,
    OVERAGE,
    balance,
    overage,
    overage_declined,
    pending,
)
from tests.support.stripe_world import utc

DAY = timedelta(days=1)


def declines(world):
    return len([row for row in world.fake.store.of("charge").values() if not row["paid"]])


def test_another_default_is_tried_once(world):
    """However often it is chosen, told of and looked for; and again when it was changed meanwhile."""
    overage_declined(world)
    tried = declines(world)
    wish = {"stripe_payment_method_id": "pm_card_chargeCustomerFail", "set_as_default": True}
    bad = world.client().post(METHODS, wish).json()["stripe_payment_method_id"]
    world.settle()
    world.settle()
    assert declines(world) == tried + 1
    assert world.client().put(f"{METHODS}/{bad}/default").status_code == 200
    assert declines(world) == tried + 1
    assert overage(world).tried_with == bad
    errors = at_once(4, lambda n: tasks.retry_invoice(world.acme, overage(world).pk))[1]
    assert (errors, declines(world)) == ([], tried + 1)
    world.control.fix_card(world.customer())
    good = {"stripe_payment_method_id": "pm_card_mastercard", "set_as_default": True}
    assert world.client().post(METHODS, good).status_code == 201
    assert overage(world).status == "paid"
    paid = [row for row in world.fake.store.of("charge").values() if row["paid"]]
    assert [row["amount"] for row in paid] == [BASE, BASE, OVERAGE]


@pytest.mark.parametrize("ends", ["declined", "paid"])
def test_who_dies_between_the_try_and_writing_it_down_does_not_try_again(world, monkeypatch, ends):
    overage_declined(world)
    token = "pm_card_mastercard" if ends == "paid" else "pm_card_chargeCustomerFail"
    if ends == "paid":
        world.control.fix_card(world.customer())
    with monkeypatch.context() as patch:
        patch.setattr(retries, "apply_invoice", lambda **_: 1 / 0)
        wish = {"stripe_payment_method_id": token, "set_as_default": True}
        with pytest.raises(ZeroDivisionError):
            world.client().post(METHODS, wish)
    charges = len(world.fake.store.of("charge"))
    assert tasks.retry_due_invoices() == 1
    assert tasks.retry_due_invoices() == 0
    assert len(world.fake.store.of("charge")) == charges
    assert overage(world).status == ("paid" if ends == "paid" else "open")


def test_without_any_card_it_is_overdue_and_the_first_card_pays_it(world):
    """Ended, and the card taken away: what the credit for six days leaves has nothing to pay it."""
    world.subscribe()
    world.use(1_234)
    world.to(utc(3, 30))
    answer = world.client().post("/orgs/acme/subscription/cancel", {"immediately": True})
    assert answer.status_code == 200
    name = world.client().get(METHODS).json()["results"][0]["stripe_payment_method_id"]
    assert world.client().delete(f"{METHODS}/{name}").status_code == 204
    world.to(utc(3, 31))
    assert balance(world)["owed"] == [{"currency": "usd", "amount_cents": OVERAGE - 948}]
    assert stripe_invoices.due_for_push() == []
    world.to(utc(4, 16))
    assert pending(world) == ("suspended", 403)
    wish = {"stripe_payment_method_id": "pm_card_visa"}
    assert world.client().post(METHODS, wish).status_code == 201
    assert overage(world).status == "paid"
    assert pending(world) == ("active", 201)


def test_a_payment_that_no_webhook_told_of(world):
    """Neither the failure nor the payment: the sweep and the night find both."""
    world.subscribe()
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.control.drop_webhooks(1_000)
    world.to(utc(4, 8))
    assert balance(world)["status"] == "current"
    world.control.drop_webhooks(0)
    assert tasks.sweep_events() > 0
    world.settle()
    assert balance(world)["past_due_since"] == "2026-04-08T09:30:00Z"
    # The grace begins with what we tell, not with what we did not know.
    world.to(utc(4, 21))
    assert pending(world) == ("active", 201)
    world.to(utc(4, 23))
    assert pending(world) == ("suspended", 403)
    world.control.fix_card(world.customer())
    world.control.drop_webhooks(1_000)
    latest = next(iter(world.fake.store.of("subscription").values()))["latest_invoice"]
    gateway.pay_invoice(latest)
    world.settle()
    assert pending(world) == ("suspended", 403)
    assert tasks.compare_customer(world.acme) > 0
    assert pending(world) == ("active", 201)


def test_an_open_invoice_is_compared_however_old_it_is(world):
    overage_declined(world)
    world.to(utc(4, 6))
    world.to(utc(6, 20), step=30 * DAY)
    name = overage(world).stripe_id
    world.control.fix_card(world.customer())
    world.control.drop_webhooks(1_000)
    gateway.pay_invoice(name)
    world.control.deliver()
    assert overage(world).status == "open"
    tasks.compare_customer(world.acme)
    assert overage(world).status == "paid"
