"""What staff see of Stripe in the admin: the inbox, who pays how, and the mirror without its keys."""

import pytest
from django.contrib import admin
from django.utils import timezone
from djstripe import models as mirrored

from billing.admin import SHOWN
from billing.models import (
    DunningNotice,
    EventStatus,
    PaymentMethod,
    StripeCustomer,
    StripePrice,
    WebhookEvent,
)
from billing.tests.test_admin import act, staff  # noqa: F401 - a fixture
from quotas.models import PlanPrice


@pytest.fixture
def rows(org_id, subscribe):
    now = timezone.now()
    subscribe("pro")
    StripeCustomer.objects.create(org_id=org_id, stripe_id="cus_1", created_at=now)
    PaymentMethod.objects.create(org_id=org_id, stripe_id="pm_1", kind="card", created_at=now)
    StripePrice.objects.create(
        price=PlanPrice.objects.earliest("pk"), stripe_id="price_1", product_id="prod_1"
    )
    DunningNotice.objects.create(org_id=org_id, past_due_since=now, day=0, claimed_at=now)
    WebhookEvent.objects.create(
        event_id="evt_1",
        kind="customer.updated",
        object_id="cus_1",
        payload={"data": {"object": {"id": "cus_1"}}},
        created_at=now,
        received_at=now,
        due_at=now,
        status=EventStatus.DEAD,
        attempts=8,
        error="Traceback: it rains",
    )
    mirrored.Product.objects.create(id="prod_1", name="Pro", livemode=False)


@pytest.mark.parametrize(
    "model", [WebhookEvent, PaymentMethod, StripeCustomer, StripePrice, DunningNotice, *SHOWN]
)
def test_lists_searches_and_pages_open(staff, rows, model):  # noqa: F811
    url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "acme"}).status_code == 200
    row = model.objects.first()
    if row is not None:
        assert staff.get(f"{url}{row.pk}/change/").status_code == 200
    assert staff.get(f"{url}add/").status_code == 403


def test_a_dead_letter_is_replayed(staff, rows, monkeypatch, django_capture_on_commit_callbacks):  # noqa: F811
    sent: list[int] = []
    monkeypatch.setattr("billing.admin.process_event.delay", sent.append)
    row = WebhookEvent.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        assert act(staff, "/admin/billing/webhookevent/", "replay", row).status_code == 200
    row.refresh_from_db()
    assert (row.status, row.attempts) == (EventStatus.WAITING, 0)
    assert sent == [row.pk]


def test_keys_and_secrets_of_the_mirror_are_not_shown():
    for model in (mirrored.APIKey, mirrored.WebhookEndpoint, mirrored.Account):
        assert not admin.site.is_registered(model)
