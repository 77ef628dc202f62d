"""Connections to Valkey that die while nobody uses them."""

from django.conf import settings
from redis import Redis

from spoke.core import valkey


def test_a_connection_that_the_server_closed_while_idle_costs_no_failed_call():
    client = valkey.request_client()
    number = valkey.call(client, "CLIENT", "ID")
    epoch = valkey.epoch()
    other = Redis.from_url(settings.REDIS_URL)
    assert other.client_kill_filter(_id=number) == 1
    other.close()
    assert valkey.call(client, "CLIENT", "ID") != number
    assert valkey.epoch() != epoch
