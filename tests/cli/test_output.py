"""How sizes, times, amounts and the server's words are shown."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from spoke.cli import output
from spoke.cli.errors import CliError, Refused, change_row, field_row
from spoke.core import money


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1843, "1.8 KiB"),
        (10 * 1024**3, "10.0 GiB"),
        (5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_sizes(count, shown):
    assert output.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (86_400 * 3, "3 days ago")],
)
def test_how_long_ago(seconds, shown):
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert output.ago((now - timedelta(seconds=seconds)).isoformat(), now) == shown


def test_no_time_is_nothing():
    assert (output.ago(None), output.moment(None)) == ("", "")


@pytest.mark.parametrize("minor", [0, 5, -123_456_789])
def test_amounts_are_as_invoices_print_them(minor):
    # Two units of account, which nothing is sold in, have four decimals.
    for currency in {*money.EXPONENTS, *money.TWO_DECIMALS} - {"CLF", "UYW"}:
        expected = f"{money.format_minor(minor, currency)} {currency}"
        assert output.money(minor, currency.lower()) == expected


def test_nothing_that_the_server_says_steers_the_terminal():
    said = output.clean("a\x1b[2Jb\x07c\u202ed\r\te\n")
    assert said == "a\ufffd[2Jb\ufffdc\ufffdd\ufffd\te\n"


def test_each_row_of_a_table_is_one_harmless_line(capsys):
    rows = output.table("A", "B")
    output.add(rows, "x\x1b[31m\ny", "[bold]" + "long " * 500)
    output.Output(as_json=False, quiet=False).print(rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("x\ufffd[31m y  [bold]long long")


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            {"field": "files/a/b.proto", "code": "x", "detail": "No.", "line": 3, "column": 7},
            "a/b.proto:3:7: No.",
        ),
        ({"field": "files/a.proto", "code": "x", "detail": "No.", "line": 3}, "a.proto:3: No."),
        ({"field": "files/a.proto", "code": "x", "detail": "No."}, "a.proto: No."),
        ({"field": "name", "code": "x", "detail": "No."}, "name: No."),
        ({"field": None, "code": "x", "detail": "No."}, "No."),
    ],
)
def test_rows_of_errors(row, shown):
    assert field_row(row) == shown


def test_what_the_detail_says_is_not_said_twice():
    row = {"field": "version", "code": "x", "detail": "It exists."}
    placed = {"field": "files/a.proto", "code": "x", "detail": "It exists.", "line": 1, "column": 2}
    refused = Refused(409, {"detail": "It exists.", "errors": [row, placed]})
    assert refused.lines == ["a.proto:1:2: It exists."]


def test_a_refusal_says_all_that_helps():
    refused = Refused(
        403,
        {
            "detail": "The limit is 5 modules; 5 are in use.",
            "code": "quota_exceeded",
            "errors": [],
            "breaking_changes": [{"rule": "FIELD_REMOVED", "path": "a.proto", "message": "Gone."}],
            "request_id": "abc",
            "upgrade_url": "https://spoke.example/orgs/7/subscription",
        },
    )
    assert refused.message == "The limit is 5 modules; 5 are in use."
    assert refused.lines == [
        "a.proto: Gone. (FIELD_REMOVED)",
        "code: quota_exceeded",
        "request id: abc",
        "raise the limit: https://spoke.example/orgs/7/subscription",
    ]
    assert change_row({"rule": "R", "path": "p", "message": "m"}) == "p: m (R)"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_progress_is_for_terminals_whatever_the_environment_says(monkeypatch, stream, shown):
    for name, value in (("FORCE_COLOR", "1"), ("TTY_COMPATIBLE", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    written = stream()
    monkeypatch.setattr("sys.stderr", written)
    with output.Output(as_json=False, quiet=False).transfer("Sending", 10) as meter:
        meter.at(5)
    assert ("Sending" in written.getvalue()) is shown


@pytest.mark.parametrize(("no_color", "coloured"), [("1", False), ("", True)])
def test_no_color_is_heeded(monkeypatch, no_color, coloured):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    written = Terminal()
    monkeypatch.setattr("sys.stderr", written)
    output.Output(as_json=False, quiet=False).error(CliError("No."))
    assert ("\x1b[1;31m" in written.getvalue()) is coloured
