"""A world with a Stripe server, whose webhooks reach Spoke over HTTP; what processes need."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe
from django.conf import settings as spoke_settings
from django.db import connection

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


@pytest.fixture
def environment(transactional_db: None, tmp_path: Path) -> dict[str, str]:
    """What the processes need to work on this test's own database and Redis."""
    url = os.environ["DATABASE_URL"]
    database = connection.settings_dict["NAME"]
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))},
        "DATABASE_URL": f"{url.rsplit('/', 1)[0]}/{database}",
        "REDIS_URL": spoke_settings.REDIS_URL,
        "SPOKE_ENV": "test",
        "DJANGO_SETTINGS_MODULE": "spoke.settings",
        "EMAIL_URL": "filemail://",
        "MAIL_DIR": str(tmp_path / "mail"),
        "STORAGE_DIR": str(tmp_path / "files"),
        "DEMO_ENV": str(tmp_path / "demo.env"),
        "LOG_LEVEL": "WARNING",
        "PYTHON": sys.executable,
    }
