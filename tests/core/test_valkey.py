"""Connections to Valkey that die while nobody uses them."""

import threading

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


def test_threads_come_and_go_for_ever():
    """Each has a connection of its own; the client's pool would make a hundred and no more."""
    client = valkey.request_client()
    before = client.connection_pool._created_connections
    answers = []
    for _ in range(120):
        thread = threading.Thread(target=lambda: answers.append(valkey.call(client, "PING")))
        thread.start()
        thread.join()
    assert answers == [b"PONG"] * 120
    assert client.connection_pool._created_connections == before
