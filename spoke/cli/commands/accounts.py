"""login, logout, whoami."""

import sys
from typing import Any
from urllib.parse import urlsplit

import click

from spoke.cli import config
from spoke.cli.errors import UsageProblem
from spoke.cli.output import add, moment, sheet
from spoke.cli.running import Run, caller, identity, standard

DEFAULT_URL = "http://127.0.0.1:8000"  # where `make run` serves
FROM_STDIN = "-"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--api-url", default="", metavar="URL", help="Where the API is.")
@click.option("--token", default="", metavar="TOKEN", help="An API token; - reads it from stdin.")
@standard
def login(run: Run, api_url: str, token: str) -> None:
    """Check a token and keep it for the commands to come.

    Without options it asks. The token is kept readable for you alone, in
    $XDG_CONFIG_HOME/spoke/config.toml (~/.config when that is not set).
    """
    stored = config.read(config.config_path())
    url = config.normal_url(api_url or run.settings.api_url or _ask_url())
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        run.out.insist(f"Warning: {url} is not encrypted; others can read the token on its way.")
    secret = _secret(token)
    me, orgs = identity(run.call(url, secret))
    names = [org["name"] for org in orgs]
    organization = _chosen(run.named_organization, stored.organization, names)
    path = config.config_path()
    config.write(path, config.Stored(api_url=url, token=secret, organization=organization))
    if run.out.as_json:
        run.out.document({"api_url": url, "organization": organization or None, "me": me})
        return
    run.out.tell(f"Signed in to {url} as {_name(me)}. The token is kept in {path}.")
    if organization:
        run.out.tell(f"Commands work on the organization {organization}.")
    elif names:
        run.out.tell("Choose an organization with `spoke orgs use NAME`; `spoke orgs` lists yours.")
    _warn_of_environment(run)


@click.command()
@standard
def logout(run: Run) -> None:
    """Forget the stored token. It stays valid until it is revoked."""
    removed = config.remove(config.config_path())
    if run.out.as_json:
        run.out.document({"removed": removed})
    else:
        run.out.tell("The token is forgotten here." if removed else "Nothing was stored.")
    _warn_of_environment(run)


@click.command()
@standard
def whoami(run: Run) -> None:
    """Show whose token is used, and where."""
    me = caller(run.api)
    api_url, organization = run.settings.api_url, run.settings.organization
    if run.out.as_json:
        run.out.document({"api_url": api_url, "organization": organization or None, "me": me})
        return
    token = me if me["kind"] == "service_token" else me.get("token") or {}
    rows = sheet(2)
    add(rows, "Signed in as", _name(me))
    add(rows, "Token", f"{token.get('name', '')} ({token.get('prefix', '')}…)")
    add(rows, "Scopes", ", ".join(token.get("scopes", [])))
    add(rows, "Expires", moment(token.get("expires_at")) or "never")
    add(rows, "API", api_url)
    add(rows, "Organization", organization or "none chosen")
    run.out.print(rows)


def _chosen(named: str, stored: str, names: list[str]) -> str:
    """The organization to keep: the one named, the one from before, or the only one."""
    if named and named not in names:
        raise UsageProblem(f"You are not in {named}.", hint=f"You are in {', '.join(names[:10])}.")
    if named or stored in names:
        return named or stored
    return names[0] if len(names) == 1 else ""


def _ask_url() -> str:
    if not sys.stdin.isatty():
        raise UsageProblem("Name the API with --api-url or SPOKE_API_URL.")
    answer: str = click.prompt("Address of the API", default=DEFAULT_URL, err=True)
    return answer


def _secret(token: str) -> str:
    if token == FROM_STDIN or (not token and not sys.stdin.isatty()):
        token = sys.stdin.readline()
    elif not token:
        token = click.prompt("API token (it is not shown)", hide_input=True, err=True)
    return config.checked_token(token.strip())


def _name(me: dict[str, Any]) -> str:
    if me["kind"] == "service_token":
        return f"the service token {me['name']} of {me['organization']['name']}"
    return str(me["email"])


def _warn_of_environment(run: Run) -> None:
    names = config.set_in_environment()
    if names:
        run.out.insist(f"Warning: {', '.join(names)} in the environment wins over what is stored.")
