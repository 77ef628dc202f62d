"""An alert's message reaches everybody who wants it: once, or again where it may have been lost."""

from datetime import timedelta
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
import time_machine
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from kombu.exceptions import OperationalError

from conftest import door
from orgs.models import Membership, Organization, User
from orgs.tests.helpers import verify
from quotas import tasks
from quotas.mail_tasks import send_alert
from quotas.models import Alert, AlertOptOut
from quotas.services import alert_mail
from quotas.services.alerts import fire
from quotas.services.periods import current_period
from quotas.tests.conftest import NOW
from quotas.tests.threads import at_once
from spoke.core import tenancy

LEASE = alert_mail.LEASE
send_for_real = EmailMultiAlternatives.send


@pytest.fixture
def people(committed_cast):
    """The cast with verified addresses, an empty outbox, and nobody to enqueue anything."""
    with door():
        for who in ("owner", "admin", "developer", "viewer", "outsider", "staff"):
            verify(getattr(committed_cast, who))
    mail.outbox.clear()
    with time_machine.travel(NOW, tick=False):
        yield committed_cast


@pytest.fixture
def no_broker(monkeypatch):
    """The task that sends is never started, as with Redis away."""

    def refuse(*args, **kwargs):
        raise OperationalError("the broker is away")

    monkeypatch.setattr(send_alert, "delay", refuse)
    yield
    monkeypatch.undo()


def alert_of(cast, *, resource="storage", used=900 * 2**20, limit=1000 * 2**20):
    """The alert that has a message."""
    with tenancy.organization(cast.org.pk):
        period = current_period(org_id=cast.org.pk, now=NOW)
        assert fire(
            org_id=cast.org.pk,
            period_id=period.pk,
            resource=resource,
            used=used,
            limit=limit,
            thresholds=[50, 80, 100],
            now=NOW,
        ) == [50, 80]
        return Alert.objects.get(period=period, resource=resource, notify=True).pk


def row(alert_id):
    with door():
        return Alert.objects.get(pk=alert_id)


def recipients():
    return sorted(message.to[0] for message in mail.outbox)


def later(delta):
    return time_machine.travel(NOW + delta, tick=False)


def test_owners_and_admins_are_told_in_text_and_html(people):
    alert = alert_of(people)
    assert recipients() == ["admin@example.com", "owner@example.com"]
    message = mail.outbox[0]
    assert isinstance(message, EmailMultiAlternatives)
    assert message.subject == "Acme has reached 80% of its storage limit"
    assert "Acme has reached 80% of its storage limit on Spoke." in message.body
    assert "Used: 900.0 MB of 1000.0 MB." in message.body
    assert "This was seen on 23 November 2026, 14:20 UTC." in message.body
    assert "The period ends on 1 December 2026, 00:00 UTC." in message.body
    assert "/orgs/acme/alerts" in message.body
    ((html, kind),) = message.alternatives
    assert kind == "text/html"
    assert "<strong>80%</strong> of its storage limit" in str(html)
    sent = row(alert)
    assert (sent.notified_at, sent.told) == (NOW, [people.owner.pk, people.admin.pk])


@pytest.mark.parametrize(
    ("resource", "subject", "line"),
    [
        ("modules", "module limit", "Used: 4,100 of 5,000."),
        ("compile_jobs", "compile job limit of this period", "Used: 4,100 of 5,000."),
        ("api_requests", "API requests included in this period", "Used: 4,100 of 5,000."),
        ("overage", "overage budget of this period", None),
    ],
)
def test_each_resource_is_named(people, resource, subject, line):
    alert_of(people, resource=resource, used=4100, limit=5000)
    message = mail.outbox[0]
    assert message.subject == f"Acme has reached 80% of its {subject}"
    assert ("Used:" in message.body) == (line is not None)
    assert line is None or line in message.body


def test_a_name_cannot_break_the_header_or_the_page(people):
    with door():
        Organization.objects.update(display_name="A <b>&\nBcc: x@example.com")
    alert_of(people)
    message = mail.outbox[0]
    assert message.subject.startswith("A <b>& Bcc: x@example.com has reached 80%")
    assert "A &lt;b&gt;&amp;" in message.alternatives[0].content


def test_who_opted_out_is_inactive_unverified_or_no_longer_admin_is_not_told(people):
    with door():
        AlertOptOut.objects.create(org=people.org, user=people.owner, created_at=NOW)
        # Somebody else's opt-out, and one of another organization.
        AlertOptOut.objects.create(org=people.org, user=people.viewer, created_at=NOW)
        AlertOptOut.objects.create(org=people.other_org, user=people.admin, created_at=NOW)
        for user, fields in (
            (people.developer, {"is_active": False}),
            (people.viewer, {"email": "moved@example.com"}),
        ):
            Membership.objects.filter(user=user, org=people.org).update(role="admin")
            User.objects.filter(pk=user.pk).update(**fields)
    alert_of(people)
    assert recipients() == ["admin@example.com"]


def test_when_nobody_wants_it_the_alert_is_settled_all_the_same(people):
    with door():
        Membership.objects.filter(org=people.org).update(role="viewer")
    alert = alert_of(people)
    assert mail.outbox == []
    assert row(alert).notified_at == NOW


def test_sending_again_sends_nothing(people):
    alert = alert_of(people)
    mail.outbox.clear()
    assert send_alert(people.org.pk, alert) == 0
    with later(LEASE * 2):
        assert send_alert(people.org.pk, alert) == 0
        assert tasks.resend_alerts() == 0
    assert mail.outbox == []


def test_of_sixteen_senders_at_once_one_sends(people, no_broker):
    alert = alert_of(people)
    results, errors = at_once(16, lambda _: send_alert(people.org.pk, alert))
    assert errors == []
    assert sorted(results) == [0] * 15 + [2]
    assert recipients() == ["admin@example.com", "owner@example.com"]


def test_a_lower_threshold_and_another_organizations_alert_are_never_sent(people, no_broker):
    alert = alert_of(people)
    with door():
        lower = Alert.objects.get(notify=False).pk
    assert send_alert(people.org.pk, lower) == 0
    assert send_alert(people.other_org.pk, alert) == 0
    assert mail.outbox == []
    assert row(alert).claimed_at is None


def test_what_was_never_enqueued_is_found_by_the_sweep(people, no_broker, monkeypatch):
    alert = alert_of(people)
    monkeypatch.undo()
    assert tasks.resend_alerts() == 0
    with later(LEASE):
        assert tasks.resend_alerts() == 1
        assert tasks.resend_alerts() == 0
    assert recipients() == ["admin@example.com", "owner@example.com"]
    assert row(alert).notified_at == NOW + LEASE


def test_after_a_kill_the_rest_is_told_once_the_lease_is_over(people, no_broker, monkeypatch):
    alert = alert_of(people)
    with tenancy.organization(people.org.pk):  # and then it was killed, the owner being told
        alert_mail.claim_alert(org_id=people.org.pk, alert_id=alert, now=NOW)
        alert_mail.note_told(org_id=people.org.pk, alert_id=alert, user_id=people.owner.pk)
    monkeypatch.undo()
    with later(LEASE - timedelta(seconds=1)):
        assert send_alert(people.org.pk, alert) == 0
        assert tasks.resend_alerts() == 0
    with later(LEASE):
        assert tasks.resend_alerts() == 1
    assert recipients() == ["admin@example.com"]
    assert row(alert).notified_at == NOW + LEASE


def test_a_mail_server_that_is_away_is_tried_again_later(people, no_broker, monkeypatch):
    alert = alert_of(people)
    monkeypatch.undo()

    def away(self, *args, **kwargs):
        raise SMTPServerDisconnected("gone")

    monkeypatch.setattr(EmailMultiAlternatives, "send", away)
    with pytest.raises(SMTPServerDisconnected):
        send_alert(people.org.pk, alert)
    assert row(alert).notified_at is None
    monkeypatch.undo()
    with later(LEASE):
        assert tasks.resend_alerts() == 1
    assert recipients() == ["admin@example.com", "owner@example.com"]


@pytest.mark.parametrize("code", [450, 550])
def test_one_refused_address_does_not_hold_up_the_others(people, no_broker, monkeypatch, code):
    alert = alert_of(people)
    monkeypatch.undo()

    def send(self, *args, **kwargs):
        if self.to == ["owner@example.com"]:
            raise SMTPRecipientsRefused({self.to[0]: (code, b"no")})
        return send_for_real(self, *args, **kwargs)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    if code == 550:  # for good: nobody is to be written to again
        assert send_alert(people.org.pk, alert) == 1
        assert row(alert).notified_at == NOW
    else:
        with pytest.raises(SMTPRecipientsRefused):
            send_alert(people.org.pk, alert)
        assert row(alert).told == [people.admin.pk]
        monkeypatch.undo()
        with later(LEASE):
            assert tasks.resend_alerts() == 1
        assert row(alert).told == [people.admin.pk, people.owner.pk]
    assert recipients() == sorted({"admin@example.com", mail.outbox[-1].to[0]})


def test_old_news_and_a_suspended_organizations_alerts_are_not_sent(people, no_broker, monkeypatch):
    alert_of(people)
    monkeypatch.undo()
    with later(alert_mail.GIVEN_UP):
        assert tasks.resend_alerts() == 0
    with door():
        Organization.objects.update(status="suspended")
    with later(LEASE):
        assert tasks.resend_alerts() == 0
    assert mail.outbox == []
