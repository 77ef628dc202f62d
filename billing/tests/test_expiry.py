"""Cards that expire: owners and admins are told, once a card and month."""

from datetime import UTC, date, datetime, timedelta
from smtplib import SMTPException

import pytest
from django.core import mail
from django.core.management import call_command

from billing import tasks
from billing.emails import send_expiry_warning
from billing.models import Collection, PaymentMethod, Subscription
from billing.services import expiry, subscriptions
from billing.tests.conftest import START, plan
from orgs.context import SYSTEM
from quotas.tests.threads import at_once
from spoke.core import tenancy

# Good until the end of April: 30 days before that is the last moment of 1 April.
EXPIRES = date(2026, 4, 1)
DUE = datetime(2026, 4, 1, tzinfo=UTC)


def card(org_id: int, *, name: str = "pm_1", month: date = EXPIRES, **more) -> int:
    with tenancy.organization(org_id):
        values = {"is_default": True, "brand": "visa", "last4": "4242", "kind": "card", **more}
        return PaymentMethod.objects.create(
            org_id=org_id,
            stripe_id=name,
            exp_month=month.month,
            exp_year=month.year,
            created_at=DUE,
            **values,
        ).pk


@pytest.fixture
def paying(org_id, subscribe) -> int:
    subscribe("pro")
    with tenancy.organization(org_id):
        Subscription.objects.filter(org_id=org_id).update(collection=Collection.STRIPE)
    return org_id


def told(org_id: int) -> tuple[date | None, datetime | None]:
    with tenancy.organization(org_id):
        rows = PaymentMethod.objects.filter(org_id=org_id, is_default=True)
        return rows.values_list("warned_of", "warning_claimed_at").get()


def test_owners_and_admins_are_told_once(paying, time_machine, mailoutbox):
    card(paying)
    time_machine.move_to(DUE, tick=False)
    assert tasks.warn_of_expiry() == 1
    assert sorted(sent.to[0] for sent in mailoutbox) == ["admin@example.com", "owner@example.com"]
    sent = mailoutbox[0]
    assert sent.subject == "The card that pays for Acme expires"
    for text in (sent.body, sent.alternatives[0].content):
        assert "visa 4242" in text
        assert "April 2026" in text
    assert told(paying) == (EXPIRES, None)
    time_machine.move_to(DUE + timedelta(days=20), tick=False)
    assert tasks.warn_of_expiry() == 0
    assert len(mailoutbox) == 2


@pytest.mark.parametrize(
    ("month", "days", "due"),
    [
        (EXPIRES, 30, True),
        (date(2026, 5, 1), 30, False),
        (date(2026, 5, 1), 61, True),
        (date(2025, 12, 1), 30, True),
        (date(2026, 12, 1), 30, False),
        (date(2027, 1, 1), 30, False),
    ],
)
def test_from_so_many_days_before_the_last_month_ends(paying, settings, month, days, due):
    settings.BILLING_CARD_WARNING_DAYS = days
    card(paying, month=month)
    assert expiry.expiring(now=DUE) == ([paying] if due else [])


def test_not_a_moment_before(paying):
    card(paying)
    assert expiry.expiring(now=DUE - timedelta(seconds=1)) == []
    assert expiry.expiring(now=DUE) == [paying]


def test_over_the_end_of_a_year(paying):
    card(paying, month=date(2026, 12, 1))
    assert expiry.expiring(now=datetime(2026, 12, 1, 23, 59, tzinfo=UTC)) == []
    assert expiry.expiring(now=datetime(2026, 12, 2, tzinfo=UTC)) == [paying]


def test_a_card_that_does_not_pay_is_nobodys_concern(paying):
    card(paying, is_default=False)
    card(paying, name="pm_2", month=date(2029, 1, 1))
    assert expiry.expiring(now=DUE) == []
    with tenancy.organization(paying):
        assert expiry.claim(org_id=paying, now=DUE) is None


@pytest.mark.parametrize(
    "change",
    [
        {"collection": Collection.MANUAL},
        {"status": "canceled", "canceled_at": DUE, "ended_at": DUE},
        {"status": "incomplete"},
    ],
)
def test_nor_one_of_who_does_not_pay_by_it(paying, change):
    card(paying)
    with tenancy.organization(paying):
        Subscription.objects.filter(org_id=paying).update(**change)
    assert expiry.expiring(now=DUE) == []
    assert send_expiry_warning(org_id=paying, now=DUE) == 0
    assert told(paying) == (None, None)


def test_what_was_not_sent_is_claimed_again_later(paying, monkeypatch, mailoutbox):
    card(paying)
    refuses = monkeypatch.context()
    with refuses as patched:
        patched.setattr(mail.EmailMultiAlternatives, "send", _refused)
        with pytest.raises(SMTPException):
            send_expiry_warning(org_id=paying, now=DUE)
    assert told(paying) == (None, DUE)
    assert send_expiry_warning(org_id=paying, now=DUE + timedelta(minutes=14)) == 0
    assert send_expiry_warning(org_id=paying, now=DUE + timedelta(minutes=15)) == 2
    assert len(mailoutbox) == 2
    assert told(paying) == (EXPIRES, None)


def _refused(self, *args, **kwargs):
    raise SMTPException("on demand")


def test_a_renewed_card_is_told_of_in_its_new_month_only(paying, mailoutbox):
    pk = card(paying)
    send_expiry_warning(org_id=paying, now=DUE)
    with tenancy.organization(paying):
        PaymentMethod.objects.filter(pk=pk).update(exp_year=2027)
    assert send_expiry_warning(org_id=paying, now=DUE + timedelta(days=25)) == 0
    assert len(mailoutbox) == 2
    later = datetime(2027, 4, 1, tzinfo=UTC)
    assert send_expiry_warning(org_id=paying, now=later) == 2
    assert told(paying) == (date(2027, 4, 1), None)


def test_many_at_once_send_it_once(committed_cast, mailoutbox):
    call_command("seed_plans", verbosity=0)
    org_id = committed_cast.org.pk
    with tenancy.organization(org_id):
        row = subscriptions.start_subscription(
            org_id=org_id,
            plan=plan("pro"),
            interval="month",
            currency="usd",
            actor=SYSTEM,
            now=START,
        )
        Subscription.objects.filter(pk=row.pk).update(collection=Collection.STRIPE)
    card(org_id)
    counts, errors = at_once(8, lambda _: send_expiry_warning(org_id=org_id, now=DUE))
    assert errors == []
    assert sorted(counts) == [0] * 7 + [2]
    assert len(mailoutbox) == 2
    assert told(org_id) == (EXPIRES, None)
