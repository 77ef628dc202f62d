"""Commands that are given what they cannot use say so, and change nothing."""

import socket

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from spoke.demo.management.commands import seed_demo


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("advance", "soon"), "How long"),
        (("advance", "0d"), "How long"),
        (("drop-webhooks", "0"), "from 1 on"),
        (("drop-webhooks", "-1"), "from 1 on"),
        (("fault", "500", "x"), "from 1 on"),
        (("serve", "--port", "99999999"), "Port 99999999 cannot be listened on"),
    ],
)
def test_the_stripe_of_development(settings, arguments, says):
    settings.STRIPE_API_HOST = "http://127.0.0.1:1"
    with pytest.raises(CommandError, match=says):
        call_command("fake_stripe", *arguments)


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(CommandError, match="in use"):
            call_command("fake_stripe", "serve", "--port", port)


@pytest.mark.parametrize("command", ["replay_webhooks", "stripe_mirror", "stripe_setup"])
def test_without_a_key_of_stripes(settings, command):
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(CommandError, match="Set STRIPE_SECRET_KEY first"):
        call_command(command)


def test_an_address_that_is_none(settings):
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    with pytest.raises(CommandError, match="nowhere is no address"):
        call_command("stripe_setup", "--url", "nowhere")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["²", "9" * 30, "nobody"])
def test_usage_of_an_unknown_organization(name):
    with pytest.raises(CommandError, match="there is no organization"):
        call_command("usage", "verify", "--org", name)


@pytest.mark.django_db
def test_a_file_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(seed_demo, "seed", lambda **rest: {})
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("seed_demo", "--env-file", tmp_path / "file" / "demo.env")
    # A lock that outlived the command would keep the next one waiting for ever.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert cursor.fetchone() == (0,)
