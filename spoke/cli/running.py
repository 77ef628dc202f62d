"""What every command has: its options, its streams, its settings, and its way to end."""

import errno
import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Concatenate, ParamSpec

import click

from spoke.cli import config
from spoke.cli.client import Api, address
from spoke.cli.errors import CliError, NotSignedIn, Unreachable, UsageProblem
from spoke.cli.output import Output
from spoke.cli.references import check_organization

P = ParamSpec("P")


class Run:
    """One command under way."""

    def __init__(self, out: Output, organization: str) -> None:
        self.out = out
        self.named_organization = organization
        self._open = ExitStack()

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
        return self.call(settings.api_url, config.checked_token(settings.token))

    def call(self, api_url: str, token: str) -> Api:
        """An API that is called until the command ends."""
        api = Api(api_url, token, self.out.tell, account=self._chosen)
        return self._open.enter_context(api)

    def close(self) -> None:
        """Ends the connections."""
        self._open.close()

    def organization(self, named: str = "") -> str:
        """The organization that a command is about: named, chosen, or the only one there is."""
        return named or self._chosen or self._only_organization()

    @property
    def _chosen(self) -> str:
        name = self.named_organization or self.settings.organization
        return check_organization(name) if name else ""

    def _only_organization(self) -> str:
        names = [org["name"] for org in identity(self.api)[1]]
        if len(names) == 1:
            return str(names[0])
        if not names:
            raise UsageProblem("You are in no organization.", hint="Ask to be invited to one.")
        raise UsageProblem(
            f"Which organization? You are in {', '.join(names[:10])}.",
            hint="Choose one with --org, SPOKE_ORG or `spoke orgs use NAME`.",
        )


def caller(api: Api) -> dict[str, Any]:
    """Whose token it is. Raises Unreachable where this is not Spoke."""
    me = api.get(address("me"))
    if not isinstance(me, dict) or "kind" not in me:
        raise Unreachable(f"{api.api_url} does not answer as Spoke does; is this its API?")
    return me


def identity(api: Api) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Whose token it is, and the organizations that it can work on, each at least with its name."""
    me = caller(api)
    if me["kind"] == "service_token":
        return me, [me["organization"]]
    return me, sorted(api.pages(address("orgs")), key=lambda org: org["name"])


def standard(function: Callable[Concatenate[Run, P], None]) -> Callable[P, None]:
    """Gives a command a Run, --json, --quiet and --org, and each error its message and exit code."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
    @click.option("--org", "-O", "org", default="", metavar="NAME", help="The organization.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, quiet: bool, org: str, **options: Any) -> None:
        out = Output(as_json=as_json, quiet=quiet)
        run = Run(out, org)
        try:
            function(run, *args, **options)
        except CliError as exc:
            end(out, exc)
        except UnicodeError:
            end(out, UsageProblem("What was given is not UTF-8."))
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                raise
            end(out, CliError(f"{exc.filename or 'The system'}: {exc.strerror or exc}."))
        finally:
            run.close()

    return wrapped  # type: ignore[return-value]  # click calls it with the options besides


def end(out: Output, error: CliError) -> None:
    """Says why, and ends the command with the error's exit code."""
    out.error(error)
    click.get_current_context().exit(int(error.exit_code))
