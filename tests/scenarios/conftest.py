"""A world with a Stripe server, whose webhooks reach Spoke over HTTP."""

from collections.abc import Iterator

import pytest
import stripe

from spoke.devservers.stripe.fake import FakeStripe
from tests.support.stripe_world import World, utc

START = utc(3, 5)
KEY = "sk_test_" + "x" * 24


@pytest.fixture
def world(committed_cast, live_server, settings, time_machine) -> Iterator[World]:
    with FakeStripe(start=START) as fake:
        settings.STRIPE_SECRET_KEY = settings.STRIPE_TEST_SECRET_KEY = KEY
        settings.STRIPE_API_HOST = fake.url
        made = stripe.StripeClient(
            settings.STRIPE_SECRET_KEY, base_addresses={"api": fake.url}
        ).v1.webhook_endpoints.create(
            {"url": f"{live_server.url}/billing/webhook", "enabled_events": ["*"]}
        )
        settings.STRIPE_WEBHOOK_SECRETS = [made.secret]
        fake.control.pause_webhooks()
        yield World(fake, committed_cast, lambda at: time_machine.move_to(at, tick=False))
