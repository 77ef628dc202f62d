"""The audit log: filters, pages and exports."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from conftest import door
from orgs.context import SYSTEM, Actor
from orgs.models import AuditEvent
from orgs.roles import Scope
from orgs.services import audit_export
from orgs.services.audit import record_event

URL = "/orgs/acme/audit-log"
START = datetime(2026, 3, 1, 10, tzinfo=UTC)
ADA = Actor("user", 501, "ada@example.com")
TOKEN = Actor("token", 502, "spk_00000000… ci")


def record(org, *, hours=0, actor=ADA, action="member.removed", target=("member", 7), data=None):
    return record_event(
        org_id=org.pk,
        actor=actor,
        action=action,
        now=START + timedelta(hours=hours),
        target=target,
        data=data,
    )


@pytest.fixture
def events(cast):
    return [
        record(cast.org),
        record(cast.org, hours=1, action="member.added", actor=TOKEN),
        record(cast.org, hours=2, action="membership.odd", target=("token", "member")),
        record(cast.org, hours=3, action="invitation.expired", actor=SYSTEM, target=None),
        record(cast.other_org, hours=3),
    ]


def test_an_event_is_shown_in_full_newest_first(cast, api, events):
    page = api("owner").get(URL, {"limit": 2}).json()
    assert [row["id"] for row in page["results"]] == [events[3].pk, events[2].pk]
    rest = api("owner").get(page["next"]).json()
    assert [row["id"] for row in rest["results"]] == [events[1].pk, events[0].pk]
    assert rest["next"] is None
    assert rest["results"][1] == {
        "id": events[0].pk,
        "at": "2026-03-01T10:00:00Z",
        "actor_kind": "user",
        "actor_id": 501,
        "actor_label": "ada@example.com",
        "action": "member.removed",
        "target_type": "member",
        "target_id": "7",
        "data": {},
        "request_id": "",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"actor": "501"}, [2, 0]),
        ({"actor": "ADA@example.com"}, [2, 0]),
        ({"actor": "ada"}, []),
        ({"actor_kind": "token"}, [1]),
        ({"action": "member.removed"}, [0]),
        ({"action": "member."}, [1, 0]),
        ({"action": "member"}, []),
        ({"target_type": "token"}, [2]),
        ({"target_type": "member", "target_id": "7"}, [1, 0]),
        ({"since": "2026-03-01T11:00:00Z", "until": "2026-03-01T12:00:00Z"}, [1]),
        ({"since": "2026-03-01T12:00:00Z"}, [3, 2]),
    ],
)
def test_filters(cast, api, events, query, expected):
    found = api("admin").get(URL, query).json()["results"]
    assert [row["id"] for row in found] == [events[index].pk for index in expected]
    export = api("admin").get(f"{URL}/export", {**query, "format": "jsonl"})
    lines = export.getvalue().decode().splitlines()
    assert [json.loads(line) for line in lines] == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"actor": "9" * 19}, "actor"),
        ({"actor_kind": "robot"}, "actor_kind"),
        ({"since": "yesterday"}, "since"),
        ({"who": "ada"}, "who"),
        ({"format": "csv"}, "format"),
        ({"target_id": "a\x00b"}, "target_id"),
    ],
)
def test_unknown_and_malformed_filters_are_named(cast, api, query, field):
    response = api("owner").get(URL, query)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)


def test_an_export_names_its_format_and_takes_no_pages(cast, api):
    for query, field in (({}, "format"), ({"format": "pdf"}, "format"), ({"limit": 3}, "limit")):
        response = api("owner").get(f"{URL}/export", query)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)


def test_only_owners_admins_and_staff_read_it(cast, api, events):
    for path in (URL, f"{URL}/export?format=csv"):
        for role, status in (
            ("owner", 200),
            ("admin", 200),
            ("staff", 200),
            ("developer", 403),
            ("viewer", 403),
            ("outsider", 404),
        ):
            assert api(role).get(path).status_code == status, (role, path)
        refused = api("owner", Scope.READ).get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_csv_holds_no_formulas_and_keeps_every_character(cast, api):
    nasty = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", 'a"b', "a,b", "ä\nö", "'x", "plain"]
    for number, text in enumerate(nasty):
        actor = Actor("user", number, text)
        record(cast.org, actor=actor, target=("member", text), data={"note": text})
    response = api("owner").get(f"{URL}/export?format=csv", headers={"Accept": "text/csv"})
    assert response.status_code == 200
    assert response.streaming
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"].startswith(
        'attachment; filename="acme-audit-log-20'
    )
    text = response.getvalue().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(audit_export.COLUMNS)
    expected = ["'" + t if t[0] in "=+-@\t\r" else t for t in nasty]
    assert [row["actor_label"] for row in reversed(rows)] == expected
    assert [row["target_id"] for row in reversed(rows)] == expected
    assert [json.loads(row["data"])["note"] for row in reversed(rows)] == nasty
    assert rows[0]["at"] == "2026-03-01T10:00:00Z"


def test_an_export_streams_every_event_once_after_the_view_has_ended(committed_cast, monkeypatch):
    monkeypatch.setattr(audit_export, "PAGE_SIZE", 10)
    cast = committed_cast
    with door():
        ids = [record(cast.org, hours=n).pk for n in range(25)]
        record(cast.other_org)
    response = cast.client("owner").get(f"{URL}/export?format=jsonl")
    assert not connection.in_atomic_block
    chunks = iter(response)
    seen = [json.loads(line)["id"] for line in next(chunks).decode().splitlines()]
    assert len(seen) == 10
    with door():
        record(cast.org, hours=100)  # younger than the export: it does not move the pages
    for chunk in chunks:
        seen += [json.loads(line)["id"] for line in chunk.decode().splitlines()]
    assert seen == ids[::-1]
    assert AuditEvent.objects.count() == 0  # outside a scope nothing is visible, as before
