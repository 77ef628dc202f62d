"""`python -m tests.crash.compiling --jobs 200`: kills workers at compile jobs, and counts afterwards.

On servers of its own, with eight workers (four of Celery's with two processes each). The jobs compile
real files of googleapis-common-protos; some are equal, and Java's refuse a file by the user's fault. A
trigger writes down each change of a job's status, and how many of its organization's run.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from spoke.devservers.children import Leash
from spoke.devservers.errors import wait_until
from tests.crash.machine import (
    START_SECONDS,
    Process,
    conninfo_of,
    environment,
    run_script,
    running_servers,
    worker_command,
)
from tests.support.running import ROOT

FINISHED = ("succeeded", "failed", "canceled")
LANGUAGES = ("python", "grpc", "cpp", "csharp", "java", "kotlin", "objc", "php", "ruby")
# Java cannot have a class inside one of its own name: the compiler refuses what is valid by itself.
BAD = 'syntax = "proto3"; option java_outer_classname = "Bad"; message Bad {}'
PREPARE = """
import sys
import django
django.setup()
import importlib.util
from pathlib import Path
from django.core.management import call_command
from django.utils import timezone
from orgs.context import SYSTEM
from orgs.models import User
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from registry.files import Push, PushedFile
from registry.services import modules, pushing, versions
from spoke.core import tenancy
from tests.factories import OrganizationFactory
call_command("migrate", verbosity=0)
call_command("seed_plans", verbosity=0)
now = timezone.now()
user = User.objects.create_user("owner@example.com")
site = Path(importlib.util.find_spec("google.rpc").submodule_search_locations[0]).parents[1]
real = [
    PushedFile(path.relative_to(site).as_posix(), path.read_bytes())
    for folder in ("api", "rpc", "type", "longrunning")
    for path in sorted((site / "google" / folder).rglob("*.proto"))
]
for number in range(2):
    with tenancy.all_organizations(reason="crash test"):
        org = OrganizationFactory(name=f"crash-{number}", owner=user)
        unlimited = {Resource.COMPILE_JOBS: None, Resource.VERSIONS: None}
        set_overrides(org_id=org.pk, actor=SYSTEM, now=now, limits=unlimited)
    with tenancy.organization(org.pk):
        modules.create_module(
            org_id=org.pk, actor=SYSTEM, name="m", description="", is_public=False, now=now
        )
    for patch in range(VERSIONS):
        text = f'syntax = "proto3"; message V{number}_{patch} {{}}'
        own = [PushedFile("v.proto", text.encode()), PushedFile("bad.proto", BAD.encode())]
        push = Push(f"1.0.{patch}", "", (*real, *own))
        checked = pushing.prepare_push(org_id=org.pk, module_name="m", push=push, now=now)
        with tenancy.organization(org.pk):
            versions.publish_version(
                org_id=org.pk, actor=SYSTEM, module_name="m", checked=checked, now=now
            )
    print(org.pk)
"""
# Orders what it is told to, and looks for lost jobs in beat's place.
CLERK = """
import sys
from datetime import timedelta
import django
django.setup()
from django.utils import timezone
from orgs.context import SYSTEM
from registry import protoc, tasks
from registry.compiling import Options
from registry.models import Language
from registry.services import compile, compile_rescue
from spoke.core import tenancy
compile_rescue.RESEND_AFTER = timedelta(seconds=10)
def order(org_id, version, name):
    options = Options(language=Language(name.replace("grpc", "python")), grpc=name == "grpc")
    with tenancy.organization(int(org_id)):
        job = compile.submit_job(
            org_id=int(org_id), actor=SYSTEM, module_name="m", version_name=version,
            options=options, now=timezone.now(),
        )
        due = compile.is_due(job=job, now=timezone.now())
    if due:
        tasks.run_compile_job.delay(int(org_id), job.pk)
    return job.pk
does = {"order": order, "rescue": tasks.rescue_compile_jobs, "sweep": protoc.remove_leftovers}
for line in sys.stdin:
    word, *rest = line.split()
    print(does[word](*rest), flush=True)
"""
WATCH = """
CREATE TABLE job_changes (
    job_id bigint, before text, after text, counted boolean, running bigint,
    at timestamptz DEFAULT clock_timestamp()
);
GRANT INSERT ON job_changes TO PUBLIC;
CREATE FUNCTION note_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO job_changes VALUES (
        NEW.id, OLD.status, NEW.status, NEW.counted,
        (SELECT count(*) FROM registry_compilejob WHERE org_id = NEW.org_id AND status = 'running')
    );
    RETURN NULL;
END $$;
CREATE TRIGGER note_job AFTER UPDATE OF status ON registry_compilejob FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_job();
"""
JOBS = """
SELECT status, counted, cached, error_code, error_fault, attempts, count(*)
FROM registry_compilejob GROUP BY 1, 2, 3, 4, 5, 6
"""
QUOTA = (
    "SELECT coalesce(sum(used), 0)::bigint FROM quotas_periodusage WHERE resource = 'compile_jobs'"
)
HOURS = (
    "SELECT coalesce(sum(used), 0)::bigint FROM quotas_usagebucket WHERE resource = 'compile_jobs'"
)
# What ended more than once, or changed after its end.
ENDED_TWICE = f"""
SELECT job_id FROM job_changes WHERE after IN {FINISHED} GROUP BY 1 HAVING count(*) > 1
UNION SELECT job_id FROM job_changes WHERE before IN {FINISHED}
"""
STORED = """
SELECT a.org_id, a.digest, a.sha256 FROM registry_compileartifact a
WHERE EXISTS (SELECT FROM registry_compilejob j WHERE j.artifact_id = a.id)
"""
MOST = "SELECT max(running) FROM job_changes"
RUNNING = "SELECT count(*) FROM registry_compilejob WHERE status = 'running'"
UNFINISHED = "SELECT count(*) FROM registry_compilejob WHERE status IN ('queued', 'running')"


@dataclass
class Workshop:
    """Workers, a clerk that orders, and the books."""

    folder: Path
    scratch: Path
    workers: list[Process]
    clerk: "subprocess.Popen[str]"
    sql: "psycopg.Connection[tuple]"
    orgs: list[str]
    kills: Counter[str] = field(default_factory=Counter)

    def ask(self, line: str) -> str:
        assert self.clerk.stdin is not None
        assert self.clerk.stdout is not None
        self.clerk.stdin.write(f"{line}\n")
        self.clerk.stdin.flush()
        answer = self.clerk.stdout.readline()
        assert answer, "the clerk died"
        return answer.strip()

    def number(self, statement: str) -> int:
        row = self.sql.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def compilers(self) -> list[int]:
        """Processes that work in a folder of a run."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str((entry / "cwd").readlink()).startswith(str(self.scratch)):
                    found.append(int(entry.name))
        return found


@contextlib.contextmanager
def workshop(*, versions: int, workers: int) -> Iterator[Workshop]:
    """Everything, ended and deleted with the block."""
    with running_servers() as (folder, servers, leash):
        scratch = folder / "scratch"
        scratch.mkdir()
        env = {**environment(folder, servers), "TMPDIR": str(scratch)}
        orgs = [
            words[0] for words in run_script(f"VERSIONS, BAD = {versions}, {BAD!r}\n{PREPARE}", env)
        ]
        conninfo = conninfo_of(servers[0])
        with psycopg.connect(conninfo, autocommit=True) as sql:
            sql.execute(WATCH.encode())
            sql.execute("SET spoke.everything = 'on'")
            made = _workers(workers, env, folder, leash)
            with (folder / "clerk.log").open("ab") as log:
                clerk = subprocess.Popen(
                    [sys.executable, "-c", CLERK],
                    env={**env, "LOG_LEVEL": "ERROR"},
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            leash.tell("+", clerk.pid)
            try:
                yield Workshop(folder, scratch, made, clerk, sql, orgs)
            finally:
                clerk.kill()
                clerk.communicate()
                leash.tell("-", clerk.pid)
                for worker in made:
                    worker.kill()


def _workers(number: int, env: dict[str, str], folder: Path, leash: Leash) -> list[Process]:
    made = []
    for index in range(number // 2):
        command = worker_command(f"w{index}", "compile,default", "tests.crash.hasty_worker")
        made.append(Process(f"w{index}", command, env, folder / f"w{index}.log", leash))
        made[-1].start()
    for worker in made:
        ready = wait_until(lambda: worker.said(b" ready."), seconds=START_SECONDS)  # noqa: B023
        assert ready, worker.log.read_text()[-2000:]
    return made


def order(shop: Workshop, jobs: int, chosen: random.Random, versions: int) -> None:
    """Orders, a fifth of which are equal to others."""
    kinds = [
        f"{org} 1.0.{patch} {language}"
        for org in shop.orgs
        for patch in range(versions)
        for language in LANGUAGES
    ]
    different = chosen.sample(kinds, min(len(kinds), jobs * 4 // 5))
    equal = chosen.choices(different, k=jobs - len(different))
    orders = [*different, *equal]
    chosen.shuffle(orders)
    for line in orders:
        shop.ask(f"order {line}")


def kill(shop: Workshop, chosen: random.Random) -> None:
    """A process that compiles, a whole worker, or (sometimes) all of them; starts what died again."""
    wait_until(lambda: bool(shop.compilers()), seconds=20)
    kind = chosen.choices(["process", "worker", "all"], [6, 3, 1])[0]
    shop.kills[kind] += 1
    if kind == "process":
        for compiler in shop.compilers()[:1]:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                stat = Path(f"/proc/{compiler}/stat").read_text()
                os.kill(int(stat.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
        return
    time.sleep(chosen.uniform(0, 0.3))
    dying = shop.workers if kind == "all" else [chosen.choice(shop.workers)]
    for worker in dying:
        worker.kill()
    for worker in dying:
        worker.start()


def settle(shop: Workshop, seconds: float) -> None:
    """Until every job has ended."""

    def ended() -> bool:
        shop.ask("rescue")
        for worker in shop.workers:  # as any supervisor does
            if worker.has_ended():
                worker.start()
        time.sleep(0.5)
        return shop.number(UNFINISHED) == 0

    wait_until(ended, seconds=seconds)


def faults_of(shop: Workshop, jobs: int) -> list[str]:
    """What is wrong now that all is quiet."""
    found = []
    rows = shop.sql.execute(JOBS.encode()).fetchall()
    total = sum(row[-1] for row in rows)
    if total != jobs:
        found.append(f"{total} jobs of {jobs}")
    if unfinished := shop.number(UNFINISHED):
        found.append(f"{unfinished} jobs have not ended")
    if (most := shop.number(MOST)) > 4:  # the default of COMPILE_JOBS_AT_ONCE
        found.append(f"{most} jobs of an organization ran at once")
    if twice := shop.sql.execute(ENDED_TWICE.encode()).fetchall():
        found.append(f"ended more than once: {twice}")
    due = sum(
        number
        for status, _, cached, _, fault, _, number in rows
        if (status == "succeeded" and not cached) or fault == "user"
    )
    counted = sum(row[-1] for row in rows if row[1])
    # Equal jobs that fail by the user's fault are counted once.
    free = shop.number(
        "SELECT count(*) FROM registry_compilejob WHERE error_fault = 'user' AND NOT counted"
    )
    quota = shop.number(QUOTA)
    if not quota == shop.number(HOURS) == counted == due - free:
        found.append(
            f"quota {quota}, hours {shop.number(HOURS)}, marked {counted}, due {due - free}"
        )
    for org_id, digest, sha256 in shop.sql.execute(STORED.encode()).fetchall():
        path = shop.folder / "files/artifacts" / str(org_id) / digest[:2] / f"{digest}-{sha256}.zip"
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.append(f"{path} is not what it says")
    return found


def leftovers(shop: Workshop) -> tuple[list[str], int]:
    """What is wrong with every worker dead, and how many folders a sweep had to remove."""
    for worker in shop.workers:
        worker.kill()
    found = []
    if not wait_until(lambda: not shop.compilers(), seconds=10):
        found.append(f"orphan processes: {shop.compilers()}")
    swept = int(shop.ask("sweep"))
    if left := [path.name for path in shop.scratch.iterdir() if path.name.startswith("spoke-")]:
        found.append(f"orphan folders: {left}")
    return found, swept


def play(*, jobs: int, workers: int, kills: int, seed: str, say=lambda text: None) -> list[str]:
    """Orders, kills and counts; returns what was wrong."""
    chosen, began = random.Random(seed), time.monotonic()
    versions = -(-jobs * 4 // (5 * 2 * len(LANGUAGES)))
    with workshop(versions=versions, workers=workers) as shop:
        say(f"ready after {time.monotonic() - began:.1f} s, seed {seed}")
        ordered = time.monotonic()
        order(shop, jobs, chosen, versions)
        done = 0
        while done < kills and shop.number(UNFINISHED):
            kill(shop, chosen)
            done += 1
            shop.ask("rescue")
        say(f"{sum(shop.kills.values())} kills: {dict(shop.kills)}")
        settle(shop, seconds=300)
        seconds = time.monotonic() - ordered
        found = faults_of(shop, jobs)
        rows = shop.sql.execute(JOBS.encode()).fetchall()
        for row in sorted(rows, key=str):
            status, counted, cached, code, fault, attempts, number = row
            kind = " ".join(filter(None, (status, code, fault, "cached" if cached else "")))
            say(f"{number:5} {kind}, {'counted' if counted else 'free'}, attempts {attempts}")
        say(f"quota {shop.number(QUOTA)} after {seconds:.0f} s")
        wrong, swept = leftovers(shop)
        say(f"folders that dead workers left and a sweep removed: {swept}")
    return found + wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.compiling", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8, help="processes, two to a worker")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    options = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM):  # so that everything is ended and deleted
        signal.signal(sign, lambda number, frame: sys.exit(128 + number))

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    faults = play(
        jobs=options.jobs,
        workers=options.workers,
        kills=options.kills,
        seed=options.seed,
        say=say,
    )
    for fault in faults:
        say(f"WRONG {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
