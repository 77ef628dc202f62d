"""Money goes back once: what a cancellation or a change gave back is not refunded, and the other way."""

from datetime import timedelta

import pytest

from billing.models import CreditNote, Invoice
from spoke.core import tenancy
from tests.support.stripe_world import utc

SUBSCRIPTION = "/orgs/acme/subscription"
HALF = utc(3, 5) + (utc(4, 5) - utc(3, 5)) / 2
QUARTER = (utc(4, 5) - utc(3, 5)) / 4


def row(world, total):
    with tenancy.organization(world.acme):
        return Invoice.objects.for_org(world.acme).get(total_minor=total)


def issue(world, total, kind="refund", **wish):
    url = f"/orgs/acme/invoices/{row(world, total).pk}/credit-notes"
    return world.client("staff").post(url, {"reason": "Asked for", "kind": kind} | wish)


def refunded(world):
    rows = sorted(world.fake.store.of("refund").values(), key=lambda row: row["_n"])
    return [row["amount"] for row in rows]


def cancel(world):
    answer = world.client().post(f"{SUBSCRIPTION}/cancel", {"immediately": True})
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("kind", ["refund", "credit"])
def test_what_a_cancellation_gave_back_is_not_given_again(world, kind):
    world.subscribe()
    world.to(HALF)
    cancel(world)
    # Before any webhook.
    credit = row(world, -2_450).number
    for amount in (2_451, 4_900):
        refused = issue(world, 4_900, kind, amount_cents=amount)
        assert (refused.status_code, refused.json()["code"]) == (400, "credit_exceeds_invoice")
        assert refused.json()["detail"] == (
            f"Of this invoice 24.50 USD was given back for unused time, by {credit}: between 1 and"
            " 2450 can be given back."
        )
    with tenancy.organization(world.acme):
        assert not CreditNote.objects.exists()
    # The half that was used is for staff to give back, in part and then all that is left.
    assert issue(world, 4_900, kind, amount_cents=450).status_code == 201
    assert issue(world, 4_900, kind).json()["amount_cents"] == 2_000
    refused = issue(world, 4_900, kind)
    assert refused.json()["detail"].endswith("nothing is left of it.")
    world.settle()
    assert refunded(world) == ([450, 2_000] if kind == "refund" else [])
    balance = world.fake.store.of("customer")[world.customer()]["balance"]
    assert balance == (-2_450 if kind == "refund" else -4_900)


def test_what_was_refunded_no_cancellation_gives_back(world):
    world.subscribe()
    world.to(HALF)
    assert issue(world, 4_900).json()["amount_cents"] == 4_900
    world.settle()
    cancel(world)
    world.settle()
    assert world.invoices() == [("stripe", 4_900, "paid")]
    assert world.fake.store.of("customer")[world.customer()]["balance"] == 0


def test_a_present_before_does_not_take_the_given_back(world):
    world.subscribe()
    world.to(HALF)
    assert issue(world, 4_900, amount_cents=2_450).status_code == 201
    world.settle()
    cancel(world)
    world.settle()
    assert world.invoices() == [("stripe", 4_900, "paid"), ("stripe", -2_450, "paid")]
    assert issue(world, 4_900).json()["code"] == "credit_exceeds_invoice"


def test_each_change_gives_back_of_what_charged_last(world):
    """Pro, enterprise from the half, ended at three quarters: 49.00; 249.50 - 24.50; -124.75."""
    world.subscribe()
    world.to(HALF)
    assert world.client().patch(SUBSCRIPTION, {"plan": "enterprise"}).status_code == 200
    world.to(HALF + QUARTER)
    cancel(world)
    world.settle()
    assert [total for _, total, _ in world.invoices()] == [4_900, 22_500, -12_475]
    assert issue(world, 4_900, amount_cents=2_451).status_code == 400
    assert issue(world, 4_900).json()["amount_cents"] == 2_450
    assert issue(world, 22_500, amount_cents=10_026).status_code == 400
    assert issue(world, 22_500).json()["amount_cents"] == 10_025


def test_the_month_before_and_the_overage_are_refunded_whole(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 5) + timedelta(hours=6), step=timedelta(hours=12))
    with tenancy.organization(world.acme):
        first = Invoice.objects.for_org(world.acme).filter(total_minor=4_900).earliest("pk")
    world.to(utc(4, 20))
    cancel(world)
    url = f"/orgs/acme/invoices/{first.pk}/credit-notes"
    sent = {"reason": "Asked for", "kind": "refund"}
    assert world.client("staff").post(url, sent).json()["amount_cents"] == 4_900
    assert issue(world, 1_170).json()["amount_cents"] == 1_170


def test_what_the_balance_paid_is_not_to_be_paid(world):
    """API, page and PDF say what Stripe says: 49.00 less the 24.50 of the month that was cut short."""
    world.subscribe()
    world.to(HALF)
    cancel(world)
    world.settle()
    # The next subscription is paid by the balance in part; the renewal of another one is declined.
    world.client().post(SUBSCRIPTION, {"plan": "pro", "trial_period_days": 7})
    world.settle()
    world.control.fail_card(world.customer())
    world.to(HALF + timedelta(days=8))
    (there,) = (x for x in world.fake.store.of("invoice").values() if x["status"] == "open")
    assert (there["total"], there["amount_due"], there["amount_remaining"]) == (4_900, 2_450, 2_450)
    with tenancy.organization(world.acme):
        ours = Invoice.objects.get(stripe_id=there["id"])
    body = world.client().get(f"/orgs/acme/invoices/{ours.pk}").json()
    assert [body[name] for name in ("amount_cents", "prepaid_cents", "amount_due_cents")] == [
        *(4_900, 2_450, 2_450)
    ]
    assert body["payment_url"] == there["hosted_invoice_url"]
    owed = world.client().get("/orgs/acme/billing/balance").json()["owed"]
    assert owed == [{"currency": "usd", "amount_cents": 2_450}]
    page = world.client().get(f"/orgs/acme/invoices/{ours.pk}/html").content.decode()
    shown = [
        text for text in ("Paid from your balance", "-24.50", "To pay", "24.50") if text in page
    ]
    assert len(shown) == 4
    assert world.client().get(f"/orgs/acme/invoices/{ours.pk}/pdf").content.startswith(b"%PDF")
    # A reduction comes off what is left, there and here.
    sent = {"reason": "Sorry", "kind": "reduction", "amount_cents": 450}
    url = f"/orgs/acme/invoices/{ours.pk}/credit-notes"
    assert world.client("staff").post(url, sent).status_code == 201
    world.settle()
    there = world.fake.store.get("invoice", there["id"])
    body = world.client().get(f"/orgs/acme/invoices/{ours.pk}").json()
    assert body["amount_due_cents"] == there["amount_remaining"] == 2_000
    world.control.fix_card(world.customer())
    world.to(HALF + timedelta(days=12))
    body = world.client().get(f"/orgs/acme/invoices/{ours.pk}").json()
    assert (body["status"], body["amount_due_cents"], body["prepaid_cents"]) == ("paid", 0, 2_450)
    assert world.fake.store.newest("charge")[0]["amount"] == 2_000
    page = world.client().get(f"/orgs/acme/invoices/{ours.pk}/html").content.decode()
    assert "Paid from your balance" in page
    assert "To pay" not in page


def test_what_the_balance_paid_of_overage_is_not_to_be_paid(world):
    world.subscribe()
    world.use(1_234)
    world.to(utc(3, 30))
    cancel(world)
    world.control.fail_card(world.customer())
    world.to(utc(3, 31))
    # 49.00 by six days of 31 are 9.48.
    ours = row(world, 1_170)
    there = world.fake.store.get("invoice", ours.stripe_id)
    assert (ours.due_minor, there["amount_remaining"]) == (222, 222)


def test_what_is_owed_from_before_is_collected_with_it(world):
    """A balance above zero, as staff set it in the dashboard."""
    world.subscribe()
    world.fake.store.of("customer")[world.customer()]["balance"] = 300
    world.to(utc(4, 4))
    world.control.fail_card(world.customer())
    world.to(utc(4, 6))
    with tenancy.organization(world.acme):
        ours = Invoice.objects.for_org(world.acme).get(status="open")
    body = world.client().get(f"/orgs/acme/invoices/{ours.pk}").json()
    assert (body["amount_cents"], body["amount_due_cents"]) == (4_900, 5_200)
    page = world.client().get(f"/orgs/acme/invoices/{ours.pk}/html").content.decode()
    assert "Owed before" in page
    assert "52.00" in page
