"""Metrics are the operator's."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_private_address_may_scrape_while_no_token_is_set():
    response = Client(REMOTE_ADDR="10.1.2.3").get("/metrics")
    assert response.status_code == 200
    assert b"django_http_requests_total_by_method_total" in response.content


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "nonsense"])
def test_a_public_address_finds_nothing(address):
    response = Client(REMOTE_ADDR=address).get("/metrics")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_a_proxy_that_tells_no_address_opens_nothing(settings):
    settings.SPOKE_TRUSTED_PROXIES = 1
    client = Client(REMOTE_ADDR="10.1.2.3")
    assert client.get("/metrics", headers={"X-Forwarded-For": "unknown"}).status_code == 404


def test_with_a_token_set_only_the_token_opens(settings):
    settings.METRICS_TOKEN = "t" * 32
    assert Client(REMOTE_ADDR="10.1.2.3").get("/metrics").status_code == 404
    wrong = {"Authorization": "Bearer wrong"}
    assert Client().get("/metrics", headers=wrong).status_code == 404
    right = {"Authorization": f"Bearer {'t' * 32}"}
    assert Client(REMOTE_ADDR="8.8.8.8").get("/metrics", headers=right).status_code == 200
