"""push."""

import tempfile
from pathlib import Path
from typing import IO

import click

from spoke.cli.client import Answer, Params, Upload, address
from spoke.cli.commands.places import NOT_FOUND
from spoke.cli.errors import Refused, change_row
from spoke.cli.output import counted, size
from spoke.cli.packing import IGNORE_FILE, SourceFile, collect, pack
from spoke.cli.references import check_version, parse_module
from spoke.cli.running import Run, standard


@click.command(
    help=f"""Publish the folder PATH as VERSION of MODULE.

    Paths in the version are relative to PATH, so that is what imports are resolved against. Pushed
    are .proto, .md, .txt, .yaml, .yml and .json files, LICENSE, NOTICE and buf.lock; not hidden files
    and folders, node_modules, nor what PATH/{IGNORE_FILE} names (in the form of a .gitignore). A
    version never changes: pushing the same content again does nothing."""
)
@click.argument("module")
@click.argument("version")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--description", default="", help="What is new in it.")
@click.option(
    "--dependency",
    "dependencies",
    multiple=True,
    metavar="MODULE@VERSION",
    help="A module whose files are imported. Can be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, publish nothing.")
@click.option("--create", is_flag=True, help="Create the module if it is missing.")
@standard
def push(
    run: Run,
    module: str,
    version: str,
    path: Path,
    description: str,
    dependencies: tuple[str, ...],
    dry_run: bool,
    create: bool,
) -> None:
    reference = parse_module(module)
    params = [("version", check_version(version))]
    params += [("description", description)] if description else []
    params += [("dependency", dependency) for dependency in dependencies]
    params += [("dry_run", "true")] if dry_run else []
    files = collect(path)
    org = run.organization(reference.organization)
    if create and not dry_run:
        _create_if_missing(run, org, reference.module)
    named = f"{org}/{reference.module} {version}"
    with tempfile.TemporaryFile() as archive:
        pack(files, archive)
        try:
            answer = _send(run, address("orgs", org, "modules", reference.module), params, archive)
        except Refused as exc:
            if exc.code == "version_exists" and exc.problem.get("identical") is True:
                _unchanged(run, f"{org}/{reference.module}", exc)
                return
            _explain(exc, org, reference.module)
            raise
    _report(run, named, files, answer, dry_run)


def _create_if_missing(run: Run, org: str, module: str) -> None:
    try:
        run.api.get(address("orgs", org, "modules", module))
        return
    except Refused as exc:
        if exc.status != NOT_FOUND:
            raise
    try:
        run.api.post(address("orgs", org, "modules"), json={"name": module})
    except Refused as exc:
        if exc.code != "module_exists":
            raise
    else:
        run.out.tell(f"Created {org}/{module}.")


def _send(run: Run, base: str, params: Params, archive: IO[bytes]) -> Answer:
    total = archive.tell()
    with run.out.transfer("Sending", total) as meter:

        def progress(done: int) -> None:
            meter.at(done)
            meter.label("Sending" if done < total else "Being checked")

        upload = Upload(archive, "application/gzip", progress)
        return run.api.post(f"{base}/versions", params=params, upload=upload)


def _unchanged(run: Run, module: str, exc: Refused) -> None:
    # Not what was asked for, where that differs by build metadata only.
    version = exc.problem.get("version")
    if run.out.as_json:
        run.out.document({"status": "unchanged", "version": {"version": version}})
    run.out.tell(f"Nothing to do: {module} {version} is published, with the same content.")


def _explain(exc: Refused, org: str, module: str) -> None:
    if exc.status == NOT_FOUND:
        exc.hint = (
            f"`spoke modules` lists what {org} has; --create makes {module} if it is missing."
        )
    elif exc.code == "version_exists":
        exc.hint = "A version never changes: publish the changes under another number."


def _report(run: Run, named: str, files: list[SourceFile], answer: Answer, dry_run: bool) -> None:
    changes = answer.body.get("breaking_changes") or []
    if run.out.as_json:
        status = "checked" if dry_run else "published"
        run.out.document({"status": status, "version": answer.body})
    since = f" since {answer.body['compared_with']}" if answer.body.get("compared_with") else ""
    for change in changes:
        run.out.insist(f"Breaking change{since}: {change_row(change)}")
    count = f"{counted(len(files))}, {size(sum(file.size for file in files))}"
    if dry_run:
        run.out.tell(f"{named} could be published: {count}. Nothing was.")
    else:
        run.out.tell(f"Published {named}: {count}.")
