"""What every command has: its options, its streams, its settings, and its way to end."""

import errno
import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import click

from spoke.cli import config
from spoke.cli.client import Api, address
from spoke.cli.errors import CliError, NotSignedIn, UsageProblem
from spoke.cli.output import Output

P = ParamSpec("P")


class Run:
    """One command under way."""

    def __init__(self, out: Output, organization: str) -> None:
        self.out = out
        self._organization = organization

    @functools.cached_property
    def settings(self) -> config.Settings:
        return config.load()

    @functools.cached_property
    def api(self) -> Api:
        """The API, signed in. Raises NotSignedIn without a token."""
        settings = self.settings
        if not settings.api_url:
            raise NotSignedIn("You are not signed in.", hint="Sign in with `spoke login`.")
        if not settings.token:
            raise NotSignedIn(
                f"You are not signed in to {settings.api_url}.",
                hint="Sign in with `spoke login`, or set SPOKE_TOKEN.",
            )
        return Api(settings.api_url, settings.token, self.out.tell)

    def organization(self, named: str = "") -> str:
        """The organization that a command is about: named, chosen, or the only one there is."""
        return (
            named or self._organization or self.settings.organization or self._only_organization()
        )

    def _only_organization(self) -> str:
        names = [row["name"] for row in self.api.pages(address("orgs"))]
        if len(names) == 1:
            return str(names[0])
        if not names:
            raise UsageProblem("You are in no organization.", hint="Ask to be invited to one.")
        raise UsageProblem(
            f"Which organization? You are in {', '.join(names[:10])}.",
            hint="Choose one with --org, SPOKE_ORG or `spoke orgs use NAME`.",
        )


def standard(function: Callable[Concatenate[Run, P], None]) -> Callable[P, None]:
    """Gives a command a Run, --json, --quiet and --org, and each error its message and exit code."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
    @click.option("--org", "-O", "org", default="", metavar="NAME", help="The organization.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, quiet: bool, org: str, **options: Any) -> None:
        out = Output(as_json=as_json, quiet=quiet)
        try:
            function(Run(out, org), *args, **options)
        except CliError as exc:
            end(out, exc)
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                raise
            end(out, CliError(f"{exc.filename or 'The system'}: {exc.strerror or exc}."))

    return wrapped  # type: ignore[return-value]  # click calls it with the options besides


def end(out: Output, error: CliError) -> None:
    """Says why, and ends the command with the error's exit code."""
    out.error(error)
    click.get_current_context().exit(int(error.exit_code))
