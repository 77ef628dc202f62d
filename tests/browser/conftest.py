"""Chromium, driven against a live server. Without it these tests are skipped, and say so."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")


@pytest.fixture
def page(live_server, monkeypatch) -> Iterator[Page]:
    """An empty page; whatever a script of it throws fails the test."""
    # Playwright runs a loop of its own in this thread, where Django then refuses the database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS.split())
        page = browser.new_page(base_url=live_server.url, viewport={"width": 1400, "height": 1100})
        thrown: list[Any] = []
        page.on("pageerror", lambda error: thrown.append(error))  # noqa: PLW0108 - it wants a function
        yield page
        browser.close()
        # Under its loop the test has a connection of its own.
        connections.close_all()
    assert thrown == []


@pytest.fixture
def sign_in(page, live_server) -> Callable[[Any], None]:
    """`sign_in(user)` gives the browser a session of the user's."""

    def give(user: Any) -> None:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        name = settings.SESSION_COOKIE_NAME
        cookie = {"name": name, "value": client.cookies[name].value, "url": live_server.url}
        page.context.add_cookies([cookie])

    return give
