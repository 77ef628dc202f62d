"""Whose address counts, behind how many proxies."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from spoke.core.http import client_address
from spoke.core.middleware import RequestLogMiddleware


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "10.0.0.1"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "203.0.113.9", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "unknown", "10.0.0.1"),
        (2, "'; --, 203.0.113.9", "10.0.0.1"),
        (1, "203.0.113.9:51234", "203.0.113.9"),
        (1, "[2001:db8::7]:51234", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, "fe80::7%eth0", "fe80::7"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(settings, hops, forwarded, expected):
    settings.SPOKE_TRUSTED_PROXIES = hops
    request = RequestFactory().get("/", HTTP_X_FORWARDED_FOR=forwarded, REMOTE_ADDR="10.0.0.1")
    assert client_address(request) == expected


def test_a_peer_without_an_address_is_local(settings):
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) == "127.0.0.1"


@pytest.mark.parametrize("forwarded", ["unknown", "203.0.113.9:51234", "[2001:db8::7]:51234"])
def test_an_odd_address_breaks_no_limit_by_address(settings, client, forwarded):
    settings.SPOKE_TRUSTED_PROXIES = 1
    answer = client.get("/invitations/nothing", headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == 404


def test_a_claimed_address_is_not_logged():
    with capture_logs(processors=[merge_contextvars]) as logs:
        RequestLogMiddleware(lambda request: HttpResponse())(
            RequestFactory().get("/", REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="203.0.113.9")
        )
    assert [(line["event"], line["ip"]) for line in logs] == [
        ("request_started", "192.0.2.7"),
        ("request_finished", "192.0.2.7"),
    ]
