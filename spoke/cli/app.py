"""`spoke`: the commands together, and how a run ends."""

import json
import signal
import sys
from collections.abc import Sequence

import click

from spoke.cli import __version__
from spoke.cli.commands.accounts import login, logout, whoami
from spoke.cli.commands.compiling import cancel, compile_
from spoke.cli.commands.lists import modules, orgs, versions
from spoke.cli.commands.pulling import pull
from spoke.cli.commands.pushing import push
from spoke.cli.commands.usage import usage
from spoke.cli.commands.yanking import unyank, yank
from spoke.cli.errors import Exit

EPILOG = """\b
Exit codes: 0 done; 1 refused by the API; 2 wrong usage; 3 not signed in;
4 network or server away; 5 quota or rate limit; 130 interrupted.

Environment: SPOKE_TOKEN, SPOKE_API_URL and SPOKE_ORG win over what `spoke login` has stored."""


@click.group(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="spoke", message="%(prog)s %(version)s")
def main() -> None:
    """Spoke, the Protobuf schema registry, on the command line."""


for command in (
    login,
    logout,
    whoami,
    orgs,
    modules,
    versions,
    push,
    pull,
    yank,
    unyank,
    compile_,
    cancel,
    usage,
):
    main.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line; its exit code."""
    try:
        code = main.main(list(arguments), prog_name="spoke", standalone_mode=False)
    except click.Abort:
        click.echo("spoke: interrupted", err=True)
        if "--json" in arguments:
            error = {"detail": "Interrupted.", "exit_code": int(Exit.INTERRUPTED)}
            click.echo(json.dumps({"error": error}, indent=2))
        return int(Exit.INTERRUPTED)
    except click.ClickException as exc:
        exc.show()
        if "--json" in arguments:
            error = {"detail": exc.format_message(), "exit_code": exc.exit_code}
            click.echo(json.dumps({"error": error}, indent=2))
        return exc.exit_code
    return code if isinstance(code, int) else int(Exit.OK)


def entry() -> None:
    """The entry point: whoever ends it by a signal, the shell or CI, has it clear up first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))
