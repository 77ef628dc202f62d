"""What the Dockerfile puts into the image, and nothing else, is a whole Spoke in production."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pathspec
import pytest

from spoke.devservers.errors import wait_until
from tests.support.running import ROOT, WORKER, Place, free_port, process, running_web

PROTO = 'syntax = "proto3"; message Ping {} service Pings { rpc Send(Ping) returns (Ping); }'
IMPORT_ALL = """
import importlib, pathlib, django
django.setup()
import spoke.urls
for path in sorted(pathlib.Path().glob("*/**/*.py")):
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The files that .dockerignore lets through, and a Python with requirements.txt alone."""
    folder: Path = tmp_path_factory.mktemp("image")
    for path in sources():
        (folder / "app" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / "app" / path)
    python = folder / "python"
    venv.create(python, with_pip=False, symlinks=True)
    (site,) = python.glob("lib/python*/site-packages")
    for package in packages():
        for file in package.files or ():
            if file.suffix not in (".pyc", ".pth"):
                # Programs are named as ../../../bin/protoc.
                place = Path(os.path.normpath(site / file))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(os.path.normpath(file.locate()))
    return Place(folder / "app", str(python / "bin" / "python"))


def sources() -> Iterator[Path]:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    spec = pathspec.PathSpec.from_lines("gitignore", rules)
    for rule in rules:
        if rule.startswith("!"):
            top = ROOT / rule[1:]
            for path in [top, *top.rglob("*")]:
                if path.is_file() and not spec.match_file(path.relative_to(ROOT)):
                    yield path.relative_to(ROOT)


def packages() -> Iterator[metadata.Distribution]:
    """What requirements.txt names and this system needs."""
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    # A name stands there twice where its version depends on Python's.
    found = (next(iter(metadata.distributions(name=name)), None) for name in set(names))
    yield from filter(None, found)


@pytest.fixture
def production(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    (tmp_path / "metrics").mkdir()
    return {
        **{name: value for name, value in environment.items() if not name.startswith("STRIPE")},
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
        "SPOKE_ENV": "production",
        "SPOKE_SECRET_KEY": "a-secret-of-this-test-" * 3,
        "SPOKE_BASE_URL": "https://spoke.example",
        "SPOKE_ALLOWED_HOSTS": "127.0.0.1",
        "DEFAULT_FROM_EMAIL": "spoke@spoke.example",
    }


def run(image: Place, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [image.python, *arguments],
        cwd=image.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_module_is_compiled_by_the_image(committed_cast, image, production, tmp_path):
    run(image, production, "manage.py", "collectstatic", "--no-input")
    assert (image.folder / "staticfiles" / "staticfiles.json").exists()
    run(image, production, "-c", IMPORT_ALL)
    run(image, production, "manage.py", "seed_plans")
    schedule = tmp_path / "schedule"
    beat = ["celery", "--quiet", "-A", "spoke", "beat", "--pidfile=", "--schedule", str(schedule)]
    token = committed_cast.token("owner")
    web = running_web(port=free_port(), env=production, place=image)
    port = free_port()
    worker = process(WORKER, {**production, "WORKER_METRICS_PORT": str(port)}, image)
    with web as url, worker, process(beat, production, image):
        ask(f"{url}/orgs/acme/modules", token, {"name": "pings"})
        files = [{"path": "ping.proto", "content": PROTO}]
        versions = f"{url}/orgs/acme/modules/pings/versions"
        ask(versions, token, {"version": "1.0.0", "files": files})
        job = ask(f"{versions}/1.0.0/compile", token, {"language": "python", "grpc": True})
        job_url = f"{versions}/1.0.0/compile/{job['id']}"
        assert wait_until(lambda: ask(job_url, token)["status"] == "succeeded", seconds=60)
        assert wait_until(lambda: any(tmp_path.glob("schedule*")), seconds=30)
        succeeded = 'spoke_compile_jobs_total{fault="none",outcome="succeeded"} 1.0'
        assert wait_until(lambda: succeeded in read(f"http://127.0.0.1:{port}"), seconds=10)
        told = read(f"{url}/metrics")
        assert 'spoke_queue_tasks{queue="compile"} 0.0' in told
        # Of the web's folder, which is here the worker's too.
        assert succeeded in told


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def ask(url: str, token: str, body: object = None) -> dict:
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-Forwarded-Proto": "https",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        pytest.fail(f"{url}: {error.code} {error.read().decode()}")
