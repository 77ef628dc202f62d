"""orgs, modules, versions: what there is."""

from dataclasses import replace

import click

from spoke.cli import config
from spoke.cli.client import address
from spoke.cli.commands.places import readable
from spoke.cli.errors import UsageProblem
from spoke.cli.output import add, ago, moment, size, table
from spoke.cli.references import check_organization, parse_module
from spoke.cli.running import Run, identity, standard


class ListGroup(click.Group):
    """A group that lists when no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if not first or (first.startswith("-") and first not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ListGroup)
def orgs() -> None:
    """Your organizations: list them, or choose one."""


@orgs.command("list")
@standard
def list_orgs(run: Run) -> None:
    """List your organizations."""
    me, rows = identity(run.api)
    if me["kind"] == "service_token":
        rows = [run.api.get(address("orgs", row["name"])) for row in rows]
    if run.out.as_json:
        run.out.document(rows)
        return
    chosen = run.settings.organization
    shown = table("", "NAME", "DISPLAY NAME", "PLAN", "ROLE", "STATUS")
    for row in rows:
        mark = "*" if row["name"] == chosen else ""
        plan, role = row["plan_tier"], row.get("role") or ""
        add(shown, mark, row["name"], row["display_name"], plan, role, row["status"])
    run.out.print(shown)


@orgs.command("use")
@click.argument("name")
@standard
def use_org(run: Run, name: str) -> None:
    """Make an organization the one that commands work on."""
    path = config.config_path()
    stored = config.read(path)
    if not stored.api_url or stored.api_url != run.settings.api_url:
        raise UsageProblem(
            "There is no stored sign-in to this server to keep the choice with.",
            hint="Sign in with `spoke login`, or set SPOKE_ORG.",
        )
    org = run.api.get(address("orgs", check_organization(name)))
    config.write(path, replace(stored, organization=org["name"]))
    if run.out.as_json:
        run.out.document({"organization": org["name"]})
    run.out.tell(f"Commands work on the organization {org['name']} from now on.")


@click.group(cls=ListGroup)
def modules() -> None:
    """An organization's modules: list them, or create one."""


@modules.command("list")
@click.option("--search", default="", metavar="TEXT", help="Part of the name or description.")
@standard
def list_modules(run: Run, search: str) -> None:
    """List the modules of an organization."""
    params = [("search", search)] if search else []
    rows = run.api.pages(address("orgs", run.organization(), "modules"), params)
    if run.out.as_json:
        run.out.document(rows)
        return
    shown = table(
        "NAME", "LATEST", "VERSIONS", "PUBLIC", "UPDATED", "DESCRIPTION", right=("VERSIONS",)
    )
    for row in rows:
        add(
            shown,
            row["name"],
            row["latest_version"] or "-",
            str(row["versions_count"]),
            "yes" if row["is_public"] else "no",
            ago(row["updated_at"]),
            row["description"],
        )
    run.out.print(shown)


@modules.command("create")
@click.argument("name")
@click.option("--description", default="", help="What it holds.")
@click.option("--public", is_flag=True, help="Let everybody who is signed in read it.")
@standard
def create_module(run: Run, name: str, description: str, public: bool) -> None:
    """Create a module."""
    org = run.organization()
    wish = {"name": name, "description": description, "is_public": public}
    module = run.api.post(address("orgs", org, "modules"), json=wish).body
    if run.out.as_json:
        run.out.document(module)
    run.out.tell(f"Created {org}/{module['name']}.")


@click.command()
@click.argument("module")
@standard
def versions(run: Run, module: str) -> None:
    """List the versions of MODULE, the newest first."""
    reference = parse_module(module)
    rows = readable(run, reference, lambda base: run.api.pages(f"{base}/versions"))
    if run.out.as_json:
        run.out.document(rows)
        return
    shown = table("VERSION", "SIZE", "PUBLISHED", "DESCRIPTION", right=("SIZE",))
    for row in rows:
        state = " (yanked)" if row.get("yanked_at") else ""
        published = moment(row["created_at"])
        add(
            shown,
            f"{row['version']}{state}",
            size(row["size_bytes"]),
            published,
            row["description"],
        )
    run.out.print(shown)
