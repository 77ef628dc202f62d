"""How the client calls an API that fails, hangs up, says wait, or is no Spoke at all."""

import io
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from spoke.cli import client
from spoke.cli.client import Api, Upload
from spoke.cli.errors import Exit, Refused, Unreachable
from tests.cli.conftest import TOKEN
from tests.cli.stand_in import HANG_UP, Reply, problem


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def api(server, pauses, told) -> Api:
    return Api(server.url, TOKEN, told.append)


def keys(server) -> list[str]:
    return [asked.headers["Idempotency-Key"] for asked in server.asked]


@pytest.mark.parametrize(
    "failure", [HANG_UP, Reply(502, b"<html>", content_type="text/html"), problem(503, "away")]
)
def test_a_post_is_repeated_under_its_key(server, api, told, failure):
    server.on("POST /orgs", failure, failure, Reply(201, {"id": 1}))
    answer = api.post("/orgs", json={"name": "x"})
    assert (answer.status, answer.body) == (201, {"id": 1})
    assert len(set(keys(server))) == 1
    assert [asked.body for asked in server.asked] == [b'{"name": "x"}'] * 3
    assert len(told) == 2
    assert "(attempt 2 of 5)" in told[0]


def test_two_posts_have_two_keys(server, api):
    server.on("POST /orgs", Reply(201, {}))
    api.post("/orgs", json={})
    api.post("/orgs", json={})
    assert len(set(keys(server))) == 2


def test_attempts_are_bounded(server, api, pauses):
    server.on("POST /orgs", HANG_UP)
    with pytest.raises(Unreachable) as refused:
        api.post("/orgs", json={})
    assert len(server.asked) == client.ATTEMPTS == 5
    assert [round(pause, 1) >= low for pause, low in zip(pauses, (0.5, 1, 2, 4), strict=True)] == [
        True
    ] * 4
    assert max(pauses) <= 10.5
    assert refused.value.exit_code == Exit.UNREACHABLE


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(server, api, pauses, status):
    wait = problem(status, "busy", headers={"Retry-After": "7"})
    server.on("GET /me", wait, Reply(200, {}))
    api.get("/me")
    assert pauses == [7.0]


def test_retry_after_may_be_a_date(server, api, pauses):
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.on("GET /me", problem(503, "busy", headers={"Retry-After": at}), Reply(200, {}))
    api.get("/me")
    assert 25 < pauses[0] <= 30


def test_who_shall_wait_for_long_is_told_instead(server, api, pauses):
    server.on("GET /me", problem(429, "rate_limited", headers={"Retry-After": "1800"}))
    with pytest.raises(Refused) as refused:
        api.get("/me")
    assert (refused.value.exit_code, refused.value.hint) == (5, "Try again in 30 minutes.")
    assert (len(server.asked), pauses) == (1, [])


@pytest.mark.parametrize("code", ["idempotency_key_in_use", "module_changed"])
def test_who_is_there_at_the_same_moment_is_waited_for(server, api, code):
    server.on("POST /orgs", problem(409, code), Reply(201, {"id": 1}))
    assert api.post("/orgs", json={}).body == {"id": 1}
    assert len(set(keys(server))) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(400, "validation_error"), 1),
        (problem(401, "invalid_token"), 3),
        (problem(403, "permission_denied"), 1),
        (problem(403, "quota_exceeded"), 5),
        (problem(403, "budget_exceeded"), 5),
        (problem(404, "not_found"), 1),
        (problem(409, "conflict"), 1),
        (problem(500, "server_error"), 4),
        (problem(501, "not_implemented"), 1),
    ],
)
def test_a_refusal_is_final_and_has_its_exit_code(server, api, reply, code):
    server.on("POST /orgs", reply)
    with pytest.raises(Refused) as refused:
        api.post("/orgs", json={})
    assert (int(refused.value.exit_code), len(server.asked)) == (code, 1)


def test_an_upload_is_sent_whole_at_each_attempt(server, api):
    server.on("POST /push", problem(503, "away"), Reply(201, {}))
    heard: list[int] = []
    content = bytes(range(256)) * 1000
    upload = Upload(io.BytesIO(content), "application/gzip", heard.append)
    api.post("/push", upload=upload, params=[("version", "1.0.0+b"), ("dependency", "a@1")])
    assert [asked.body for asked in server.asked] == [content, content]
    assert server.asked[0].headers["Content-Type"] == "application/gzip"
    assert server.asked[0].query == [("version", "1.0.0+b"), ("dependency", "a@1")]
    assert heard.count(0) == 2
    assert max(heard) == len(content)


def test_every_page_is_read_whatever_name_the_server_has_for_itself(server, api):
    following = "https://elsewhere.example/orgs?cursor=a%2Bb&limit=200"
    server.on(
        "GET /orgs",
        Reply(200, {"results": [1, 2], "next": following}),
        Reply(200, {"results": [3], "next": None}),
    )
    assert api.pages("/orgs") == [1, 2, 3]
    assert [asked.query for asked in server.asked] == [
        [("limit", "200")],
        [("cursor", "a+b"), ("limit", "200")],
    ]


def test_a_download_that_breaks_off_begins_anew(server, api):
    whole = Reply(200, b"0123456789" * 100, content_type="application/gzip")
    server.on("GET /file", Reply(200, whole.body, cut=100), whole)
    target = io.BytesIO()
    heard: list[tuple[int, int | None]] = []
    api.download("/file", target, progress=lambda at, total: heard.append((at, total)))
    assert target.getvalue() == whole.body
    assert heard[-1] == (1000, 1000)


def test_the_token_does_not_follow_to_another_server(server, api):
    server.on(
        "GET /file",
        Reply(302, headers={"Location": server.url.replace("127.0.0.1", "localhost") + "/bucket"}),
    )
    server.on("GET /bucket", Reply(200, b"content"))
    target = io.BytesIO()
    api.download("/file", target, progress=lambda at, total: None)
    assert target.getvalue() == b"content"
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in server.asked[1].headers


def test_a_call_is_not_led_elsewhere(server, api):
    server.on("POST /orgs", Reply(308, headers={"Location": "https://spoke.example/orgs"}))
    with pytest.raises(Unreachable, match=r"has moved to https://spoke\.example/orgs"):
        api.post("/orgs", json={})


def test_a_netrc_does_not_take_the_place_of_the_token(server, api, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.on("GET /me", Reply(200, {}))
    api.get("/me")
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_what_is_no_spoke_is_said_to_be_none(server, api):
    server.on("GET /me", Reply(200, b"<html>hello</html>", content_type="text/html"))
    with pytest.raises(Unreachable, match="does not answer as Spoke does"):
        api.get("/me")


def test_where_nobody_listens_the_system_s_reason_is_given(pauses):
    with pytest.raises(
        Unreachable, match=r"^No answer from http://127.0.0.1:9: Connection refused\.$"
    ):
        Api("http://127.0.0.1:9", TOKEN, lambda text: None).get("/me")
