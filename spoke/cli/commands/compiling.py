"""compile."""

import tempfile
from pathlib import Path
from typing import IO, Any

import click
import tenacity

from spoke.cli.client import Answer, address
from spoke.cli.commands.places import looked_for, named_version
from spoke.cli.errors import CliError, Exit, Unreachable, UsageProblem
from spoke.cli.output import counted
from spoke.cli.references import LATEST, Reference, parse
from spoke.cli.running import Run, standard
from spoke.cli.unpacking import UnsafeArchive, sha256, unpack

FINAL = ("succeeded", "failed", "canceled")
OURS = "service"
# Seconds between two looks at a job.
POLLING = tenacity.wait_exponential(multiplier=0.5, exp_base=1.5, min=0.5, max=5)


class JobFailed(CliError):
    """The job ended without an artifact."""

    def __init__(self, job: dict[str, Any]) -> None:
        error = job.get("error") or {}
        self.job = job
        if error.get("fault") == OURS:
            self.exit_code = Exit.UNREACHABLE
        detail = error.get("detail") or f"The job was {job['status']}."
        lines = [line for line in (job.get("log") or "").splitlines() if line != detail]
        lines += [f"code: {error['code']}"] if error.get("code") else []
        super().__init__(detail, lines=lines)

    def document(self) -> dict[str, Any]:
        error = {"detail": self.message, **(self.job.get("error") or {})}
        return {"error": {**error, "exit_code": int(self.exit_code)}, "job": self.job}


@click.command("compile")
@click.argument("reference", metavar="[ORG/]MODULE[@VERSION]")
@click.option(
    "--language",
    "-l",
    metavar="NAME",
    help="python, cpp, csharp, java, kotlin, objc, php or ruby.",
)
@click.option("--grpc", is_flag=True, help="Clients and servers for gRPC too (Python).")
@click.option("--include-dependencies", is_flag=True, help="Code for the dependencies too.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; else MODULE-LANGUAGE.",
)
@click.option("--force", is_flag=True, help="Replace files of other content.")
@click.option("--no-wait", is_flag=True, help="Submit the job, and do not wait for it.")
@click.option(
    "--job",
    "job_id",
    type=click.IntRange(min=1),
    metavar="ID",
    help="Wait for a job submitted before.",
)
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=900,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the job.",
)
@standard
def compile_(
    run: Run,
    reference: str,
    language: str | None,
    grpc: bool,
    include_dependencies: bool,
    output: Path | None,
    force: bool,
    no_wait: bool,
    job_id: int | None,
    timeout: int,
) -> None:
    """Generate code from a version, the latest unless one is named.

    The same job again comes from the cache and costs nothing. Ctrl-C ends the waiting, not the job.
    """
    if not language and not job_id:
        raise UsageProblem("Which language? Name it with --language; --help lists them.")
    org = run.organization(parse(reference).organization)
    place = _version_address(run, org, parse(reference))
    if job_id:
        answer = run.api.call("GET", f"{place}/compile{address(str(job_id))}")
    else:
        wish = {"language": language, "grpc": grpc, "include_dependencies": include_dependencies}
        answer = run.api.post(f"{place}/compile", json=wish)
    job = answer.body
    if no_wait:
        if run.out.as_json:
            run.out.document(job)
        run.out.tell(f"Job {job['id']} is {job['status']}. {_later(org, job)}")
        return
    place = f"{place}/compile{address(str(job['id']))}"
    job = _wait(run, place, answer, timeout, _later(org, job))
    if job["status"] != "succeeded":
        raise JobFailed(job)
    _fetch(run, place, job, output or Path(f"{job['module']}-{job['language']}"), force)


@click.command()
@click.argument("reference", metavar="[ORG/]MODULE@VERSION")
@click.argument("job_id", metavar="JOB", type=click.IntRange(min=1))
@standard
def cancel(run: Run, reference: str, job_id: int) -> None:
    """Cancel a compile job that has not ended.

    One that had not started is not counted.
    """
    with named_version(run, reference) as place:
        job = run.api.post(f"{place}/compile{address(str(job_id), 'cancel')}").body
    if run.out.as_json:
        run.out.document(job)
    counted_as = "had started and counts" if job["started_at"] else "had not started: not counted"
    run.out.tell(f"Job {job_id} is canceled. It {counted_as}.")


def _version_address(run: Run, org: str, reference: Reference) -> str:
    """The address of the version; `latest` is resolved once, so that all calls mean the same."""
    base = f"{address('orgs', org, 'modules', reference.module)}/versions"
    version = reference.version
    if not version or version == LATEST:
        with looked_for(reference, org):
            version = run.api.get(f"{base}{address(LATEST)}")["version"]
    return f"{base}{address(version)}"


def _later(org: str, job: dict[str, Any]) -> str:
    named = f"{org}/{job['module']}@{job['version']}"
    return (
        f"`spoke compile {named} --job {job['id']}` fetches what it makes,"
        f" `spoke cancel {named} {job['id']}` ends it."
    )


def _wait(run: Run, place: str, first: Answer, timeout: int, later: str) -> dict[str, Any]:
    """The job in its final state; Retry-After says when to look, and else we look ever more rarely."""
    with run.out.waiting(f"Job {first.body['id']}: {first.body['status']}") as meter:
        pending = [first]

        def look() -> Answer:
            answer = pending.pop() if pending else run.api.call("GET", place)
            meter.label(f"Job {answer.body['id']}: {answer.body['status']}")
            return answer

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda answer: answer.body["status"] not in FINAL),
            wait=_pause,
            stop=tenacity.stop_before_delay(timeout),
        )
        try:
            job: dict[str, Any] = retrying(look).body
        except tenacity.RetryError as exc:
            raise Unreachable(
                f"The job did not end within {timeout} s; it goes on.",
                hint=later,
            ) from exc
        except KeyboardInterrupt:
            run.out.insist(f"The job goes on. {later}")
            raise
    return job


def _pause(state: tenacity.RetryCallState) -> float:
    answer: Answer | None = state.outcome.result() if state.outcome else None
    if answer is not None and answer.retry_after is not None:
        return max(answer.retry_after, 0.1)
    return POLLING(state)


def _fetch(run: Run, place: str, job: dict[str, Any], into: Path, force: bool) -> None:
    artifact = job["artifact"]
    if artifact is None:
        raise CliError("What the job made is no longer kept.", hint="Compile it again.")
    with tempfile.TemporaryFile() as archive:
        with run.out.transfer("Fetching", artifact.get("size_bytes")) as meter:
            run.api.download(f"{place}/artifact", archive, progress=meter.at)
        _check(archive, artifact["sha256"])
        result = unpack(archive, into, force=force)
    if run.out.as_json:
        run.out.document(
            {
                "job": job,
                "directory": str(into),
                "written": result.written,
                "unchanged": result.unchanged,
            }
        )
    cached = " From the cache: not counted." if job.get("cached") else ""
    files = counted(len(result.written) + len(result.unchanged))
    run.out.tell(f"{files} of {job['language']} in {into}.{cached}")


def _check(archive: IO[bytes], digest: str) -> None:
    archive.seek(0)
    if sha256(archive) != digest:
        raise UnsafeArchive("The artifact is not what the job says it made. Try again.")
