"""What can end a command, each with the exit code that scripts go by."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes; docs/cli.md explains them."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_SIGNED_IN = 3
    UNREACHABLE = 4
    LIMIT = 5
    INTERRUPTED = 130


LIMIT_CODES = frozenset({"quota_exceeded", "budget_exceeded"})
NOT_IMPLEMENTED = 501


class CliError(Exception):
    """Ends the command: a message, lines that say more, and what could be done next."""

    exit_code: Exit = Exit.REFUSED

    def __init__(self, message: str, *, lines: list[str] | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.lines = lines or []
        self.hint = hint

    def document(self) -> dict[str, Any]:
        """The error as `--json` prints it."""
        return {"error": {"detail": self.message, "exit_code": int(self.exit_code)}}


class UsageProblem(CliError):
    """The command cannot be meant as it was given."""

    exit_code = Exit.USAGE


class NotSignedIn(CliError):
    """There is no token for this server."""

    exit_code = Exit.NOT_SIGNED_IN


class Unreachable(CliError):
    """No answer came, or none that Spoke gives; the server may be away."""

    exit_code = Exit.UNREACHABLE


class Refused(CliError):
    """The API answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any], *, hint: str = "") -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code") or "")
        self.exit_code = _exit_code(status, self.code)
        super().__init__(
            str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"),
            lines=_rows(problem),
            hint=hint,
        )

    def document(self) -> dict[str, Any]:
        return {"error": {**self.problem, "exit_code": int(self.exit_code)}}


def _exit_code(status: int, code: str) -> Exit:
    if status == 401:
        return Exit.NOT_SIGNED_IN
    if status == 429 or code in LIMIT_CODES:
        return Exit.LIMIT
    if status >= 500 and status != NOT_IMPLEMENTED:
        return Exit.UNREACHABLE
    return Exit.REFUSED


def _rows(problem: Mapping[str, Any]) -> list[str]:
    errors = [row for row in problem.get("errors") or [] if isinstance(row, Mapping)]
    # What the detail says already is not said twice, unless there is a place to it.
    told = [row for row in errors if row.get("line") or row.get("detail") != problem.get("detail")]
    rows = [field_row(row) for row in told]
    rows += [change_row(row) for row in problem.get("breaking_changes") or []]
    named = {"code": "code", "request_id": "request id", "upgrade_url": "raise the limit"}
    rows += [f"{label}: {problem[key]}" for key, label in named.items() if problem.get(key)]
    return rows


def field_row(row: Mapping[str, Any]) -> str:
    """A row of `errors`: `file:line:column: message` where it is about a file."""
    field, detail = str(row.get("field") or ""), str(row.get("detail") or row.get("code") or "")
    path = field.removeprefix("files/")
    if path == field and row.get("line") is None:
        return f"{field}: {detail}" if field else detail
    place = [path, *(str(row[key]) for key in ("line", "column") if row.get(key) is not None)]
    return f"{':'.join(place)}: {detail}"


def change_row(row: Mapping[str, Any]) -> str:
    """A breaking change, as `path: message (rule)`."""
    return f"{row.get('path', '')}: {row.get('message', '')} ({row.get('rule', '')})"
