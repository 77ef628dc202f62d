"""pull."""

import tempfile
from pathlib import Path
from typing import Any

import click

from spoke.cli.client import address
from spoke.cli.commands.places import readable
from spoke.cli.output import counted, size
from spoke.cli.references import LATEST, parse
from spoke.cli.running import Run, standard
from spoke.cli.unpacking import unpack


@click.command()
@click.argument("reference", metavar="[ORG/]MODULE[@VERSION]")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; else one named as the module.",
)
@click.option("--force", is_flag=True, help="Replace files of other content.")
@standard
def pull(run: Run, reference: str, output: Path | None, force: bool) -> None:
    """Fetch the files of a version, the latest unless one is named.

    With ORG/ the public modules of other organizations can be fetched too.
    """
    wanted = parse(reference)
    into = output or Path(wanted.module)

    def find(base: str) -> tuple[str, dict[str, Any]]:
        found = run.api.get(f"{base}/versions{address(wanted.version or LATEST)}")
        return f"{base}/versions{address(found['version'])}", found

    place, version = readable(run, wanted, find)
    if version.get("yanked_at"):
        why = version.get("yank_reason") or "its publisher advises against it"
        run.out.insist(f"Warning: {wanted.module} {version['version']} is yanked: {why}.")
    digests = {file["path"]: file["sha256"] for file in version["files"]}
    with tempfile.TemporaryFile() as archive:
        with run.out.transfer("Fetching", None) as meter:
            params = [("format", "tar.gz")]
            run.api.download(f"{place}/archive", archive, params=params, progress=meter.at)
        result = unpack(archive, into, force=force, digests=digests)
    if run.out.as_json:
        run.out.document(
            {
                "version": version,
                "directory": str(into),
                "written": result.written,
                "unchanged": result.unchanged,
            }
        )
    same = f" ({len(result.unchanged)} were there already)" if result.unchanged else ""
    run.out.tell(
        f"{wanted.module} {version['version']}: {counted(len(digests))},"
        f" {size(version['size_bytes'])}, in {into}{same}."
    )
