"""What Stripe tells us: forged, repeated, out of order, lost, and failing on our side."""

import json
import random
import time
from datetime import timedelta

import pytest
import requests
from django.apps import apps
from django.core.management import CommandError, call_command

from billing.models import EventStatus, Invoice, PaymentMethod, Subscription, WebhookEvent
from billing.services import inbox
from billing.stripe import client, webhooks
from billing.stripe.client import NetworkInTransactionError
from billing.tasks import process_due_events, process_event, sweep_events
from spoke.core import tenancy
from spoke.devservers.stripe.deliveries import signature
from spoke.devservers.stripe.store import public
from tests.factories import OrganizationFactory
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"


@pytest.fixture
def hook(live_server, world, settings):
    """`hook(event)` delivers as Stripe would, and returns the answer."""

    def send(event, *, secret=None, at=None, body=None):
        data = body if body is not None else json.dumps(event).encode()
        secret = secret or settings.STRIPE_WEBHOOK_SECRETS[0]
        header = signature(data, secret, int(at or world.at.timestamp()))
        headers = {"Stripe-Signature": header, "Content-Type": "application/json"}
        return requests.post(
            f"{live_server.url}/billing/webhook", data=data, headers=headers, timeout=10
        )

    return send


def event(number: int = 1, kind: str = "customer.updated", **about):
    return {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "created": 1_772_703_000,
        "data": {"object": {"id": "cus_none", "object": "customer", **about}},
    }


def test_a_signed_event_is_kept_once(hook):
    assert [hook(event()).status_code for _ in range(3)] == [200, 200, 200]
    row = WebhookEvent.objects.get()
    assert (row.event_id, row.status, row.attempts) == ("evt_1", EventStatus.DONE, 1)


def test_two_secrets_are_valid_while_one_takes_the_others_place(hook, settings):
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", *settings.STRIPE_WEBHOOK_SECRETS]
    assert hook(event(1), secret="whsec_new").status_code == 200
    assert hook(event(2), secret=settings.STRIPE_WEBHOOK_SECRETS[1]).status_code == 200
    assert WebhookEvent.objects.count() == 2


def test_forgeries_leave_nothing(hook, world, live_server):
    stale = world.at.timestamp() - webhooks.TOLERANCE_SECONDS - 1
    url = f"{live_server.url}/billing/webhook"
    answers = [
        hook(event(), secret="whsec_guess"),
        hook(event(), at=stale),
        hook(None, body=b"\xff\xfe garbage"),
        hook(None, body=b"not json"),
        hook(None, body=b"[]"),
        hook(None, body=b'{"id": 1}'),
        hook({**event(), "data": {"object": None}}),
        hook({**event(), "created": 10**30}),
        requests.post(url, data=b"{}", timeout=10),
        requests.post(url, data=b"{}", headers={"Stripe-Signature": "t=,v1="}, timeout=10),
    ]
    assert [answer.status_code for answer in answers] == [400] * len(answers)
    assert {answer.json()["code"] for answer in answers} == {"bad_signature"}
    big = requests.post(url, data=b" " * (webhooks_limit() + 1), timeout=10)
    assert big.status_code == 413
    assert WebhookEvent.objects.count() == 0
    assert requests.get(url, timeout=10).status_code == 405


def webhooks_limit() -> int:
    from billing.api.webhook import MOST_BYTES

    return MOST_BYTES


def test_a_flood_of_forgeries_is_cut_off_and_grows_no_table(hook, settings):
    settings.ANONYMOUS_RATE_LIMIT = "20/m"
    codes = [hook(event(), secret="whsec_guess").status_code for _ in range(40)]
    assert set(codes[:20]) == {400}
    assert set(codes[21:]) == {429}
    assert WebhookEvent.objects.count() == 0


def test_what_is_signed_is_never_too_much(hook, settings):
    settings.ANONYMOUS_RATE_LIMIT = "5/m"
    assert {hook(event(number)).status_code for number in range(1, 21)} == {200}
    assert WebhookEvent.objects.count() == 20


def test_an_event_that_fails_is_tried_again_and_then_waits_for_staff(hook, world, monkeypatch):
    def broken(about, now):
        raise RuntimeError("it rains")

    monkeypatch.setitem(inbox.HANDLERS, "customer.", broken)
    assert hook(event()).status_code == 200
    row = WebhookEvent.objects.get()
    assert (row.status, row.attempts) == (EventStatus.WAITING, 1)
    assert "it rains" in row.error
    assert "Traceback" in row.error
    world.to(world.at + timedelta(days=3), step=timedelta(hours=6))
    row.refresh_from_db()
    assert (row.status, row.attempts) == (EventStatus.DEAD, inbox.ATTEMPTS)
    with pytest.raises(CommandError, match="The admin says of each why"):
        call_command("replay_webhooks", verbosity=0)
    with pytest.raises(CommandError, match="There is no event evt_nope"):
        call_command("replay_webhooks", "evt_nope", row.event_id, verbosity=0)
    monkeypatch.undo()
    call_command("replay_webhooks", row.event_id, verbosity=0)
    row.refresh_from_db()
    assert (row.status, row.error) == (EventStatus.DONE, "")


def test_an_event_done_is_not_done_again(hook):
    hook(event())
    row = WebhookEvent.objects.get()
    assert process_event(row.pk) is False


def everything(world):
    """Our rows of what Stripe has, field by field."""
    with tenancy.all_organizations(reason="test"):
        return {
            "subscriptions": sorted(
                Subscription.objects.exclude(stripe_id=None).values_list(
                    *("stripe_id", "status", "plan__code", "pending_plan__code", "interval"),
                    *("anchor", "current_period_start", "current_period_end"),
                    *("cancel_at_period_end", "trial_end"),
                )
            ),
            "invoices": sorted(
                Invoice.objects.filter(source="stripe").values_list(
                    "stripe_id", "status", "number", "total_minor", "period_start", "period_end"
                )
            ),
            "cards": sorted(
                PaymentMethod.objects.values_list(
                    "stripe_id", "last4", "exp_year", "is_default", "org_id"
                )
            ),
        }


def at_stripe(world):
    """The same, of Stripe's own state."""
    store = world.fake.store
    defaults = {
        row["invoice_settings"]["default_payment_method"] for row in store.of("customer").values()
    }
    return {
        "subscriptions": {row["id"]: row["status"] for row in store.of("subscription").values()},
        "invoices": {
            row["id"]: (row["status"], row["total"])
            for row in store.of("invoice").values()
            if row["total"]
        },
        "cards": {
            row["id"]: row["id"] in defaults
            for row in store.of("payment_method").values()
            if row["customer"]
        },
    }


def matches(world):
    ours, theirs = everything(world), at_stripe(world)
    assert {row[0]: row[1] for row in ours["subscriptions"]} == {
        name: {"incomplete_expired": "canceled"}.get(status, status)
        for name, status in theirs["subscriptions"].items()
    }
    assert {row[0]: (row[1], row[3]) for row in ours["invoices"]} == theirs["invoices"]
    assert {row[0]: row[3] for row in ours["cards"]} == theirs["cards"]


def a_lively_month(world, names=("acme",)):
    """Things that happen, without a webhook getting through meanwhile."""
    owner = world.client()
    for name in names:
        wish = {"plan": "pro", "payment_method_id": "pm_card_visa"}
        assert owner.post(f"/orgs/{name}/subscription", wish).status_code == 201
    for day in range(6, 12):
        world.at = utc(3, day)
        world._move(world.at)
        world.control.advance_to(world.at)
        plan = "enterprise" if day % 2 else "pro"
        card = {"stripe_payment_method_id": "pm_card_mastercard", "set_as_default": day % 2 == 0}
        for name in names:
            owner.patch(f"/orgs/{name}/subscription", {"plan": plan})
            owner.post(f"/orgs/{name}/payment-methods", card)
    for customer in list(world.fake.store.of("customer")):
        world.control.fail_card(customer)
    world.control.advance_to(utc(4, 7))
    for customer in list(world.fake.store.of("customer")):
        world.control.fix_card(customer)
    world.at = utc(4, 12)
    world._move(world.at)
    world.control.advance_to(world.at)


@pytest.mark.slow
def test_ten_thousand_shuffled_tripled_and_a_tenth_lost(hook, world, settings, monkeypatch):
    """After the sweep our state is Stripe's, field by field."""
    names = ["acme", *(f"org-{number}" for number in range(5))]
    with tenancy.all_organizations(reason="test"):
        for name in names[1:]:
            OrganizationFactory(name=name, owner=world.cast.owner)
    a_lively_month(world, names)
    rows = sorted(world.fake.store.of("event").values(), key=lambda row: row["_n"])
    assert len(rows) > 250
    dice = random.Random(7)
    # Each event of the month is one of many that the network makes of it.
    lost = {row["id"] for row in rows if dice.random() < 0.1}
    copies = [row for row in rows if row["id"] not in lost]
    deliveries = (copies * (10_000 // len(copies) + 1))[:10_000]
    dice.shuffle(deliveries)
    began = time.perf_counter()
    for row in deliveries[:10_000]:
        made = inbox.receive(
            delivery=webhooks.verified(*signed(public(row), settings, world)), now=world.at
        )
        if made is not None:
            inbox.process(event_id=made, now=world.at)
    assert time.perf_counter() - began < 600
    for row in world.fake.store.of("event").values():
        row["_delivered"] = row["id"] not in lost
    # All of it at once, where in life it is asked for every hour.
    monkeypatch.setattr(inbox, "WINDOW", timedelta(days=60))
    sweep_events()
    process_due_events()
    assert WebhookEvent.objects.filter(status=EventStatus.DONE).count() == len(rows)
    assert (
        set(WebhookEvent.objects.filter(source="sweep").values_list("event_id", flat=True)) == lost
    )
    matches(world)


def signed(data, settings, world):
    body = json.dumps(data).encode()
    return body, signature(body, settings.STRIPE_WEBHOOK_SECRETS[0], int(world.at.timestamp()))


def test_what_no_event_told_is_found_by_the_comparison(world):
    from billing.tasks import compare_with_stripe

    a_lively_month(world)
    compare_with_stripe()
    matches(world)
    before = everything(world)
    compare_with_stripe()
    assert everything(world) == before


def test_an_old_event_after_a_new_one_changes_nothing(hook, world):
    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    world.settle()
    events = world.fake.store.of("event").values()
    old = next(public(row) for row in events if row["type"] == "customer.subscription.created")
    world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    world.settle()
    assert world.plan() == "free"
    assert hook({**old, "id": "evt_late"}).status_code == 200
    assert world.plan() == "free"
    assert world.subscription().status == "canceled"


def test_the_mirror_takes_everything(world, settings):
    from djstripe import models

    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    world.settle()
    assert models.Subscription.objects.get().id == world.subscription().stripe_id
    assert models.Customer.objects.get().subscriber_id == world.acme
    assert models.Invoice.objects.count() == 1
    models.Invoice.objects.all().delete()
    call_command("stripe_mirror")
    assert models.Invoice.objects.count() == 1


def test_dj_stripes_own_command_takes_everything_there_is(world):
    from djstripe import models

    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    address = {"country": "DE", "tax_id_type": "eu_vat", "tax_id": "DE123456789"}
    assert world.client().put("/orgs/acme/billing/details", address).status_code == 200
    world.settle()
    # All but what is listed by the key that there was when dj-stripe was imported: none, in tests.
    kinds = {row.__name__ for row in apps.get_app_config("djstripe").get_models()} - {"TaxCode"}
    call_command("djstripe_sync_models", *sorted(kinds), fail_on_error=True)
    assert models.Customer.objects.get().subscriber_id == world.acme
    assert models.TaxId.objects.get().stripe_data["value"] == "DE123456789"
    stored = world.fake.store.of("event")
    asked = {name: (row["request"] or {}).get("id") or "" for name, row in stored.items()}
    assert dict(models.Event.objects.values_list("id", "request_id")) == asked
    assert any(asked.values())


def test_setting_up_twice_makes_nothing_twice(world, settings, live_server):
    from djstripe.models import WebhookEndpoint

    url = f"{live_server.url}/billing/webhook"
    for _ in range(2):
        call_command("stripe_setup", "--url", url, verbosity=0)
    store = world.fake.store
    assert sorted(row["lookup_key"] for row in store.of("price").values()) == sorted(
        f"spoke_{plan}_v1_{interval}_{currency}"
        for plan in ("pro", "enterprise")
        for interval in ("month", "year")
        for currency in ("usd", "eur")
    )
    kept = WebhookEndpoint.objects.get()
    assert kept.secret in webhooks.secrets()
    settings.STRIPE_WEBHOOK_SECRETS = []
    world.client().post(SUBSCRIPTION, {"plan": "pro", "payment_method_id": "pm_card_visa"})
    world.settle()
    assert WebhookEvent.objects.filter(status=EventStatus.DONE).exists()
    call_command("stripe_setup", "--url", url, "--rotate", verbosity=0)
    assert len(webhooks.secrets()) == 2


def test_no_call_to_stripe_inside_a_transaction(world):
    with (
        pytest.raises(NetworkInTransactionError),
        tenancy.organization(world.acme),
    ):
        client.api().customers.list()


def test_the_subscription_of_a_deleted_customer_has_ended_whatever_is_told_first(world):
    world.subscribe()
    customer = world.customer()
    client.api().customers.delete(customer)
    assert inbox.refresh_customer(customer=customer)
    world.settle()
    assert (world.plan(), world.subscription().status) == ("free", "canceled")
    assert not WebhookEvent.objects.exclude(status=EventStatus.DONE).exists()


def test_what_is_told_of_a_draft_that_is_gone_is_done(world):
    world.subscribe()
    made = client.api().invoices.create({"customer": world.customer(), "currency": "usd"})
    client.api().invoices.update(made.id, {"description": "A mistake"})
    client.api().invoices.delete(made.id)
    world.settle()
    rows = WebhookEvent.objects.filter(object_id=made.id)
    assert set(rows.values_list("status", "attempts")) == {(EventStatus.DONE, 1)}
    assert rows.count() == 3
