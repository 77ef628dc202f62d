"""The embedded servers, with real processes that come, go and are killed."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import environ
import psycopg
import redis

from spoke.devservers.places import LONGEST_SOCKET_FOLDER
from spoke.devservers.postgres import Postgres
from spoke.devservers.valkey import Valkey

from .conftest import Checkout, until


def connect(url: str) -> psycopg.Connection:
    parts = environ.Env().db_url_config(url)
    return psycopg.connect(
        host=parts["HOST"], user=parts["USER"], dbname=parts["NAME"], autocommit=True
    )


def serves(database: str, cache: str) -> bool:
    """Both answer right now."""
    try:
        with connect(database) as connection, redis.from_url(cache) as client:
            return connection.execute("select 1").fetchone() == (1,) and client.ping() is True
    except (psycopg.OperationalError, redis.RedisError):
        return False


def remember(database: str, cache: str) -> None:
    with connect(database) as connection, redis.from_url(cache) as client:
        connection.execute("create table memory as select 42 as answer")
        client.set("answer", 42)


def recalls(database: str, cache: str) -> bool:
    with connect(database) as connection, redis.from_url(cache) as client:
        row = connection.execute("select answer from memory").fetchone()
        return row == (42,) and client.get("answer") == b"42"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def postmaster(checkout: Checkout) -> int:
    server = Postgres(checkout.instance("postgres"))
    return int((server.data / "postmaster.pid").read_text().split()[0])


def valkey(checkout: Checkout) -> int:
    server = Valkey(checkout.instance("valkey"))
    return int((server.data / "valkey.pid").read_text())


def test_users_share_the_servers_which_stop_after_the_last(checkout: Checkout) -> None:
    first, second = checkout.user(), checkout.user()  # a cold start by two at once
    urls = first.urls()
    assert second.urls() == urls
    remember(*urls)

    first.kill()
    third = checkout.user()
    assert third.urls() == urls
    third.leave()
    assert serves(*urls)

    second.leave()
    until(lambda: not checkout.processes(), "the servers stop", seconds=8)
    assert not serves(*urls)

    assert checkout.user().urls() == urls
    assert recalls(*urls)


def test_killed_servers_come_back_under_their_users(checkout: Checkout) -> None:
    urls = checkout.user().urls()
    remember(*urls)
    before = postmaster(checkout), valkey(checkout)
    for pid in before:
        kill(pid)
    until(lambda: not serves(*urls) or postmaster(checkout) != before[0], "the kill shows")
    assert checkout.user().urls() == urls
    assert recalls(*urls)
    assert postmaster(checkout) != before[0]
    assert valkey(checkout) != before[1]


def test_the_next_user_recovers_from_a_killed_guardian(checkout: Checkout) -> None:
    user = checkout.user()
    urls = user.urls()
    remember(*urls)
    before = postmaster(checkout)
    for service in ("postgres", "valkey"):
        kill(checkout.guardian(service))

    # Servers without a guardian are taken over as they are.
    assert checkout.user().urls() == urls
    assert postmaster(checkout) == before

    # Guardians and servers killed at once: everything starts anew on the same data.
    kill(checkout.guardian("postgres"))
    kill(checkout.guardian("valkey"))
    kill(postmaster(checkout))
    kill(valkey(checkout))
    assert checkout.user().urls() == urls
    assert recalls(*urls)

    # The last user leaves in order, though somebody killed the guardians again.
    for service in ("postgres", "valkey"):
        kill(checkout.guardian(service))
    for other in checkout.users[1:]:
        other.kill()
    user.leave()
    until(lambda: not checkout.processes(), "the servers stop", seconds=10)


def test_test_runs_have_servers_of_their_own(checkout: Checkout) -> None:
    first, second = checkout.user("ephemeral"), checkout.user("ephemeral")
    first_urls, second_urls = first.urls(), second.urls()
    assert not set(first_urls) & set(second_urls)
    with connect(first_urls[0]) as connection:
        assert connection.execute("show fsync").fetchone() == ("off",)
        assert connection.execute("show max_connections").fetchone() == ("200",)
    remember(*first_urls)

    first.kill()
    until(lambda: not serves(*first_urls), "a killed run's servers stop")
    assert serves(*second_urls)
    data = ".local/devservers/test-*/*/data*"
    until(lambda: len(list(checkout.root.glob(data))) == 2, "the killed run's data is deleted")


def test_the_role_is_unprivileged_but_may_create_roles_and_databases(checkout: Checkout) -> None:
    database, cache = checkout.user("ephemeral", REDIS_URL="redis://given:1/0").urls()
    assert cache == "redis://given:1/0"
    assert checkout.guarded() == ["postgres"]
    with connect(database) as connection:
        role = connection.execute(
            "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb"
            " from pg_roles where rolname = current_user"
        ).fetchone()
        assert role == (False, False, True, True)
        assert connection.info.user == "spoke"
        connection.execute("create role runtime nologin")
        connection.execute("grant runtime to current_user")
        connection.execute("set role runtime")
        connection.execute("reset role")
        connection.execute("create database another")
    with connect(database.rpartition("/")[0] + "/another") as connection:
        rows = connection.execute("select extname from pg_extension order by 1").fetchall()
        assert rows == [("citext",), ("pg_stat_statements",), ("plpgsql",)]


def test_a_url_in_the_environment_wins(checkout: Checkout) -> None:
    database, cache = checkout.user("dev", DATABASE_URL="postgres://given/x").urls()
    assert database == "postgres://given/x"
    assert cache.startswith("unix:///")
    assert checkout.guarded() == ["valkey"]
    given = {"DATABASE_URL": "postgres://given/x", "REDIS_URL": "redis://given:1/0"}
    assert checkout.user("ephemeral", **given).urls() == tuple(given.values())
    assert checkout.guarded() == ["valkey"]


def test_a_long_path_closed_to_others_is_no_obstacle() -> None:
    """As root the servers run as nobody, who cannot enter the checkout."""
    top = Path(tempfile.mkdtemp(prefix="spoke-test-", dir="/tmp"))  # 0700
    root = top / ("a long folder's name " * 5) / "ünïcode" / ("deep/" * 20)
    root.mkdir(parents=True)
    checkout = Checkout(root)
    key = checkout.instance("postgres").key
    try:
        urls = checkout.user("ephemeral").urls()
        assert serves(*urls)
        folder = environ.Env().db_url_config(urls[0])["HOST"]
        assert len(folder) <= LONGEST_SOCKET_FOLDER
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    finally:
        checkout.close()
        shutil.rmtree(top)
        for base in ("/var/lib", "/var/tmp"):
            shutil.rmtree(Path(base) / "spoke-devservers" / key, ignore_errors=True)


def test_a_copied_checkout_gets_servers_of_its_own(checkout: Checkout) -> None:
    original = checkout.user("dev", DATABASE_URL="x://given")
    _, first = original.urls()
    copy = Checkout(Path(f"{checkout.root}-copy"))
    subprocess.run(["cp", "-a", checkout.root, copy.root], check=True)
    try:
        _, second = copy.user("dev", DATABASE_URL="x://given").urls()
        assert first != second
    finally:
        copy.close()
        shutil.rmtree(copy.root)


def test_deleting_the_folder_stops_the_servers(checkout: Checkout) -> None:
    """`git clean -xfd` takes the data away; the next user starts from nothing."""
    checkout.user("dev", DATABASE_URL="x://given").urls()
    shutil.rmtree(checkout.root / ".local")
    until(lambda: not checkout.processes(), "the server stops")
    _, cache = checkout.user("dev", DATABASE_URL="x://given").urls()
    with redis.from_url(cache) as client:
        assert client.ping() is True
