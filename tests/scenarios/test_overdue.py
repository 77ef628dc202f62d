"""What is not paid in time: overage as the base price, by card as by hand, however it is paid then."""

from datetime import timedelta

import pytest
import requests

from billing import tasks
from billing.models import DunningNotice, Invoice, InvoiceStatus
from billing.services import stripe_invoices, subscriptions
from billing.services.credit_notes import issue_note
from billing.services.invoicing import settle_invoice
from billing.stripe import gateway
from billing.stripe.client import api
from orgs.context import SYSTEM, Actor
from orgs.models import AuditEvent, Organization
from orgs.services.organizations import reactivate_organization, suspend_organization
from quotas.models import Plan
from quotas.tests.threads import at_once
from spoke.core import tenancy
from tests.support.stripe_world import utc

METHODS = "/orgs/acme/payment-methods"
BALANCE = "/orgs/acme/billing/balance"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAFF = Actor("staff", None, "sam@spoke.example")
# The overage of a month of 1,234 compile jobs on pro, that is pushed an hour and a bit after its end.
OVERAGE, BASE = 1_170, 4_900


def overage_declined(world, *, base_too=False):
    """March is over, and what was used beyond the plan is not paid: the base price is, or not."""
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 5) - HOUR)
    if base_too:
        world.control.fail_card(world.customer())
        world.to(utc(4, 5) + 3 * HOUR, step=HOUR)
    else:
        # Stripe collects the renewal at 10:30, and we push the overage when we get to it.
        world.control.advance_to(utc(4, 5) + HOUR)
        world.control.fail_card(world.customer())
        world.to(utc(4, 5) + 2 * HOUR, step=HOUR)


def pending(world):
    """The status of the organization, and whether it can be written to."""
    name = f"m{world.at:%d%H%M}"
    answer = world.client().post("/orgs/acme/modules", {"name": name})
    assert answer.status_code in (201, 403), answer.content
    return world.client().get("/orgs/acme").json()["status"], answer.status_code


def balance(world):
    return world.client("admin").get(BALANCE).json()


def subscribed(world):
    body = world.client().get("/orgs/acme/subscription").json()
    return body["status"], body["past_due_since"]


def overage(world) -> Invoice:
    with tenancy.organization(world.acme):
        return Invoice.objects.for_org(world.acme).get(source="usage", total_minor=OVERAGE)


def told(mailoutbox):
    """(first line, invoices with their amounts) of what the owner was told since this was asked last."""
    found = []
    for mail in mailoutbox:
        if mail.to == ["owner@example.com"] and "expires" not in mail.subject:
            lines = mail.body.splitlines()
            found.append((lines[2], [line for line in lines if line.startswith("- ")]))
    mailoutbox.clear()
    return found


FAILED = "a payment of Acme on Spoke did not go through."


def late(days):
    return f"the payment of Acme on Spoke is {days} days overdue."


def test_overage_that_the_card_does_not_pay_is_chased_like_the_base_price(world, mailoutbox):
    overage_declined(world)
    assert world.invoices() == [
        ("stripe", BASE, "paid"),
        ("stripe", BASE, "paid"),
        ("usage", OVERAGE, "open"),
    ]
    assert world.subscription().status == "active"
    since = utc(4, 5) + HOUR
    stamp = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert subscribed(world) == ("past_due", stamp)
    found = balance(world)
    url = found["invoices"][0].pop("payment_url")
    assert url.startswith(f"{world.fake.url}/invoice/in_")
    row = overage(world)
    assert found == {
        "status": "past_due",
        "past_due_since": stamp,
        "suspended_at": "2026-04-19T10:30:00Z",
        "owed": [{"currency": "usd", "amount_cents": OVERAGE}],
        "invoices": [
            {
                "id": row.pk,
                "number": "SPK-2026-000001",
                "currency": "usd",
                "amount_due_cents": OVERAGE,
                "overdue_since": stamp,
            }
        ],
    }
    owed = ["- SPK-2026-000001: 11.70 USD"]
    assert {mail.to[0] for mail in mailoutbox} == {"owner@example.com", "admin@example.com"}
    assert told(mailoutbox) == [(FAILED, owed)]
    world.to(since + 13 * DAY)
    assert told(mailoutbox) == [(late(3), owed), (late(7), owed)]
    assert pending(world) == ("active", 201)
    world.to(since + 14 * DAY)
    assert told(mailoutbox) == [(late(14), owed)]
    assert pending(world) == ("suspended", 403)
    assert world.client().get("/orgs/acme/modules").status_code == 200
    assert balance(world)["status"] == "suspended"
    world.to(since + 25 * DAY)
    assert told(mailoutbox) == []
    # Paid on Stripe's page, it works again with the webhook.
    paid = requests.post(url, data={"number": "4242424242424242"}, timeout=10)
    assert "declined" in paid.text
    world.control.fix_card(world.customer())
    requests.post(url, data={"number": "4242424242424242"}, timeout=10)
    world.control.deliver()
    assert pending(world) == ("active", 201)
    assert balance(world) == {
        "status": "current",
        "past_due_since": None,
        "suspended_at": None,
        "owed": [],
        "invoices": [],
    }
    assert subscribed(world) == ("active", None)
    assert overage(world).payment_url == ""


def test_of_two_invoices_one_mail_names_both(world, mailoutbox):
    overage_declined(world, base_too=True)
    (base, usage) = balance(world)["invoices"]
    assert (base["amount_due_cents"], usage["amount_due_cents"]) == (BASE, OVERAGE)
    assert balance(world)["past_due_since"] == base["overdue_since"] == "2026-04-05T10:30:00Z"
    both = [f"- {base['number']}: 49.00 USD", f"- {usage['number']}: 11.70 USD"]
    world.to(utc(4, 5) + 2 * DAY)
    assert [line for line, _ in told(mailoutbox)] == [FAILED]
    world.to(utc(4, 5) + 3 * DAY + 2 * HOUR)
    assert told(mailoutbox) == [(late(3), both)]
    # One of them is paid: the other is named by the next mail of the schedule, and by no other.
    world.control.fix_card(world.customer())
    with tenancy.organization(world.acme):
        first = Invoice.objects.get(pk=base["id"]).stripe_id
    gateway.pay_invoice(first)
    world.control.fail_card(world.customer())
    world.to(utc(4, 5) + 6 * DAY)
    assert told(mailoutbox) == []
    assert subscribed(world)[0] == "past_due"
    world.to(utc(4, 5) + 8 * DAY)
    assert told(mailoutbox) == [(late(7), both[1:])]
    world.to(utc(4, 5) + 15 * DAY)
    assert pending(world) == ("suspended", 403)
    with tenancy.organization(world.acme):
        days = DunningNotice.objects.order_by("sent_at").values_list("day", flat=True)
        assert list(days) == [0, 3, 7, 14]


def by_staff(world, row, status):
    with tenancy.organization(world.acme):
        settle_invoice(
            org_id=world.acme, invoice_id=row.pk, status=status, actor=STAFF, now=world.at
        )


def by_note(world, row):
    with tenancy.organization(world.acme):
        issue_note(
            org_id=world.acme,
            invoice_id=row.pk,
            kind="reduction",
            amount_minor=None,
            reason="Our fault",
            actor=STAFF,
            now=world.at,
        )


def by_another_card(world, row):
    world.control.fix_card(world.customer())
    wish = {"stripe_payment_method_id": "pm_card_mastercard", "set_as_default": True}
    assert world.client().post(METHODS, wish).status_code == 201


def by_portal(world, row):
    world.control.fix_card(world.customer())
    page = world.client().post("/orgs/acme/billing/portal", {}).json()["url"]
    requests.post(page, data={"do": "card", "number": "5555555555554444"}, timeout=10)
    world.settle()


WAYS = {
    "staff mark it paid": lambda world, row: by_staff(world, row, InvoiceStatus.PAID),
    "staff void it": lambda world, row: by_staff(world, row, InvoiceStatus.VOID),
    "staff give it up": lambda world, row: by_staff(world, row, InvoiceStatus.UNCOLLECTIBLE),
    "a credit note": by_note,
    "another card": by_another_card,
    "the portal": by_portal,
}


@pytest.mark.parametrize("way", WAYS)
def test_settled_in_whatever_way_it_works_again_at_once(world, way):
    overage_declined(world)
    world.to(utc(4, 21))
    assert pending(world) == ("suspended", 403)
    world.at += HOUR
    world._move(world.at)
    WAYS[way](world, overage(world))
    assert pending(world) == ("active", 201)
    assert balance(world)["status"] == "current"
    world.to(world.at + 2 * DAY)
    assert pending(world)[0] == "active"
    assert tasks.compare_customer(world.acme) == 0


@pytest.mark.parametrize("way", ["staff mark it paid", "another card"])
def test_what_staff_suspended_no_payment_lifts(world, way):
    overage_declined(world)
    world.to(utc(4, 21))
    with tenancy.organization(world.acme):
        org = Organization.objects.get(pk=world.acme)
        # In the very words of the automatism.
        suspend_organization(org=org, actor=STAFF, reason="Its payment is overdue.", now=world.at)
    WAYS[way](world, overage(world))
    world.settle()
    assert pending(world) == ("suspended", 403)
    assert balance(world)["status"] == "current"


def test_staff_who_reactivate_it_give_it_another_grace(world):
    overage_declined(world)
    world.to(utc(4, 21))
    assert pending(world) == ("suspended", 403)
    with tenancy.organization(world.acme):
        org = Organization.objects.get(pk=world.acme)
        reactivate_organization(org=org, actor=STAFF, now=world.at)
    assert balance(world)["suspended_at"] == "2026-05-05T09:30:00Z"
    world.to(utc(5, 5) - HOUR)
    assert pending(world) == ("active", 201)
    world.to(utc(5, 5))
    assert pending(world) == ("suspended", 403)


def test_another_invoice_that_is_overdue_keeps_it_suspended(world):
    overage_declined(world, base_too=True)
    world.to(utc(4, 21))
    by_staff(world, overage(world), InvoiceStatus.PAID)
    world.settle()
    assert pending(world) == ("suspended", 403)
    by_another_card(world, None)
    world.settle()
    assert pending(world) == ("active", 201)


def test_months_without_a_worker_suspend_nobody_who_was_not_told(world, mailoutbox):
    overage_declined(world)
    mailoutbox.clear()
    with tenancy.organization(world.acme):
        DunningNotice.objects.all().delete()
    world.at = utc(8, 1)
    world._move(world.at)
    tasks.chase(world.acme)
    assert pending(world) == ("active", 201)
    assert [line for line, _ in told(mailoutbox)] == [late(14)]
    assert balance(world)["suspended_at"] == "2026-08-15T09:30:00Z"
    world.at = utc(8, 16)
    world._move(world.at)
    tasks.chase(world.acme)
    assert pending(world) == ("suspended", 403)
    assert told(mailoutbox) == []


def test_a_payment_and_the_suspension_at_once_leave_it_active(world):
    overage_declined(world)
    row = overage(world)
    with tenancy.organization(world.acme):
        DunningNotice.objects.update(claimed_at=utc(4, 5))
    world.at = utc(4, 25)
    world._move(world.at)
    works = [
        lambda: by_staff(world, row, InvoiceStatus.PAID),
        *[lambda: tasks.chase(world.acme)] * 5,
    ]
    _, errors = at_once(6, lambda n: works[n]())
    assert errors == []
    assert pending(world) == ("active", 201)
    with tenancy.organization(world.acme):
        acts = AuditEvent.objects.filter(action__startswith="organization.").order_by("pk")
        kinds = [action.split(".")[1] for action in acts.values_list("action", flat=True)]
    assert kinds in ([], ["suspended", "reactivated"])


def test_chased_at_once_one_mail_goes_out(world, mailoutbox):
    overage_declined(world)
    with tenancy.organization(world.acme):
        DunningNotice.objects.all().delete()
    mailoutbox.clear()
    _, errors = at_once(6, lambda n: tasks.chase(world.acme))
    assert errors == []
    assert sorted(mail.to[0] for mail in mailoutbox) == ["admin@example.com", "owner@example.com"]


def test_by_hand_the_day_on_which_it_is_due_begins_the_same(world, mailoutbox):
    with tenancy.organization(world.acme):
        subscriptions.start_subscription(
            org_id=world.acme,
            plan=Plan.objects.current().get(code="pro"),
            interval="month",
            currency="usd",
            actor=SYSTEM,
            now=world.at,
        )
    world.to(utc(4, 6))
    assert world.invoices() == [("usage", BASE, "open")]
    world.to(utc(4, 19))
    assert (balance(world)["status"], told(mailoutbox)) == ("current", [])
    world.to(utc(4, 20))
    owed = ["- SPK-2026-000001: 49.00 USD"]
    due = "an invoice of Acme on Spoke is due and not paid."
    assert told(mailoutbox) == [(due, owed)]
    found = balance(world)
    assert (found["status"], found["past_due_since"]) == ("past_due", "2026-04-20T09:30:00Z")
    assert subscribed(world)[0] == "past_due"
    assert world.subscription().status == "active"
    world.to(utc(5, 3))
    days = [f"an invoice of Acme on Spoke is {day} days overdue." for day in (3, 7)]
    assert [line for line, _ in told(mailoutbox)] == days
    assert pending(world) == ("active", 201)
    world.to(utc(5, 4))
    assert pending(world) == ("suspended", 403)
    with tenancy.organization(world.acme):
        row = Invoice.objects.get(number="SPK-2026-000001")
    by_staff(world, row, InvoiceStatus.PAID)
    assert pending(world) == ("active", 201)
    assert world.fake.store.of("invoice") == {}


def test_what_waits_for_stripe_is_nobodys_delay(world, monkeypatch, mailoutbox):
    """Not pushed for weeks, as Stripe did not answer: the card was never asked."""
    world.subscribe()
    world.use(1_234)
    world.to(utc(4, 4))
    monkeypatch.setattr(stripe_invoices, "due_for_push", list)
    world.to(utc(4, 25))
    assert overage(world).status == "open"
    assert (balance(world)["status"], told(mailoutbox)) == ("current", [])
    monkeypatch.undo()
    world.settle()
    assert overage(world).status == "paid"


def test_a_first_payment_that_waits_for_the_bank_is_not_overdue(world, mailoutbox):
    wish = {"plan": "pro", "payment_method_id": "pm_card_threeDSecure2Required"}
    answer = world.client().post("/orgs/acme/subscription", wish)
    assert answer.json()["status"] == "incomplete", answer.content
    world.settle()
    assert (balance(world)["status"], told(mailoutbox)) == ("current", [])
    world.to(utc(3, 8))
    assert (balance(world)["status"], told(mailoutbox)) == ("current", [])


def test_who_has_closed_is_left_in_peace(world, mailoutbox):
    overage_declined(world)
    mailoutbox.clear()
    assert world.client().delete("/orgs/acme").status_code in (200, 204)
    world.to(utc(4, 25))
    assert told(mailoutbox) == []
    with tenancy.organization(world.acme):
        assert Organization.objects.get(pk=world.acme).status == "closed"


def test_written_off_in_stripes_dashboard(world):
    """As there, what nobody expects to be paid keeps nobody past due."""
    overage_declined(world, base_too=True)
    for row in list(world.fake.store.newest("invoice"))[:2]:
        api().invoices.mark_uncollectible(row["id"])
    world.settle()
    assert world.subscription().status == "active"
    assert balance(world)["status"] == "current"
