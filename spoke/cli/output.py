"""What a person or a script gets to read: results on stdout, progress and messages on stderr."""

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spoke.cli.errors import CliError

UNITS = ("KiB", "MiB", "GiB", "TiB")
PIPED_WIDTH = 10_000  # in a pipe each row of a table is one line
# Currencies whose minor unit is not a hundredth (ISO 4217).
NO_DECIMALS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"}
    | {"RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"}
)
THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


def clean(value: object) -> str:
    """Text of the server's without control characters, which could steer a terminal."""
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf")
        else "\N{REPLACEMENT CHARACTER}"
        for char in str(value)
    )


class Output:
    """The two streams of a command."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    def document(self, value: Any) -> None:
        """The one JSON document of `--json`."""
        click.echo(json.dumps(value, indent=2))

    def print(self, value: str | Table | Text) -> None:
        """A result, for people."""
        self._out.print(clean(value) if isinstance(value, str) else value)

    def tell(self, message: str) -> None:
        """A message, unless `--quiet`."""
        if not self.quiet:
            self.insist(message)

    def insist(self, message: str) -> None:
        """A message that `--quiet` does not hide."""
        self._err.print(clean(message), soft_wrap=True)

    def error(self, error: CliError) -> None:
        """Why the command ends."""
        self._err.print(
            Text.assemble(("spoke: ", "bold red"), clean(error.message)), soft_wrap=True
        )
        for line in error.lines:
            self._err.print(f"  {clean(line)}", soft_wrap=True)
        if error.hint:
            self._err.print(clean(error.hint), soft_wrap=True)
        if self.as_json:
            self.document(error.document())

    @contextmanager
    def transfer(self, label: str, total: int | None) -> Iterator["Meter"]:
        """A bar for bytes, on a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(complete_style="cyan", finished_style="green"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
        )
        with self._progress(*columns) as progress:
            yield Meter(progress, label, total)

    @contextmanager
    def waiting(self, label: str) -> Iterator["Meter"]:
        """A spinner, on a terminal."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with self._progress(*columns) as progress:
            yield Meter(progress, label, None)

    def _progress(self, *columns: Any) -> Progress:
        # Not rich's own word for it: FORCE_COLOR, which CI sets, would make bars of a log.
        hidden = self.quiet or not self._err.file.isatty()
        return Progress(*columns, console=self._err, transient=True, disable=hidden)


class Meter:
    """How far something is."""

    def __init__(self, progress: Progress, label: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(clean(label), total=total)

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done; of so much, where that is only known by now."""
        self._progress.update(self._task, completed=done, total=total)

    def label(self, text: str) -> None:
        self._progress.update(self._task, description=clean(text))


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.file.isatty():
        console.width = PIPED_WIDTH
    return console


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in `right` are numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def sheet(columns: int, right: tuple[int, ...] = ()) -> Table:
    """An empty table without a head; `right` numbers the columns to align so."""
    made = Table(box=None, pad_edge=False, show_header=False)
    for number in range(columns):
        made.add_column(justify="right" if number in right else "left", overflow="fold")
    return made


def add(rows: Table, *cells: object) -> None:
    """Adds a row; text is cleaned and put on one line."""
    rows.add_row(
        *(
            cell if isinstance(cell, Text | ProgressBar) else " ".join(clean(cell).split())
            for cell in cells
        )
    )


def size(count: int) -> str:
    """Bytes in the unit that suits them: `1.8 KiB`."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(UNITS))
    return f"{count / 1024**power:.1f} {UNITS[power - 1]}"


def counted(files: int) -> str:
    """So many files, in words."""
    return f"{files:,} file{'' if files == 1 else 's'}"


def moment(value: str | None) -> str:
    """A time of the API's in the reader's time zone, to the minute; empty without one."""
    if not value:
        return ""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M")


def ago(value: str | None, now: datetime | None = None) -> str:
    """How long ago a time of the API's is: `3 days ago`; empty without one."""
    if not value:
        return ""
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(value)).total_seconds())
    if seconds < 60:
        return "just now"
    return f"{duration(seconds)} ago"


def duration(seconds: int) -> str:
    """A time span in its largest unit: `3 days`, `1 hour`, `59 seconds`."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count = seconds // length
        if count or unit == "second":
            break
    return f"{count} {unit}{'' if count == 1 else 's'}"


def money(minor: int, currency: str) -> str:
    """Minor units as people read them: -123456 usd is `-1,234.56 USD`."""
    code = currency.upper()
    decimals = 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2
    return f"{Decimal(minor).scaleb(-decimals):,f} {code}"
