"""Pushing and pulling a version of 1,000 files, against the floor: protoc itself, and raw files."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

from _harness import interleaved, own_database, ratio, report, table

# Its folder would put this file in the place of the package of the same name.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]

FILES = 1_000
SINGLE = 200  # files read one by one
ROUNDS = 3
CONTENT = """syntax = "proto3";
package bench.v{folder};
import "google/protobuf/timestamp.proto";
// {mark}
message Order{n} {{
  string id = 1;
  google.protobuf.Timestamp at = 2;
  repeated Line lines = 3;
  message Line {{ string product = 1; int64 amount = 2; Kind kind = 3; }}
  enum Kind {{ KIND_UNSPECIFIED = 0; KIND_ONE = 1; KIND_TWO = 2; }}
}}
service Orders{n} {{ rpc Get(Order{n}) returns (Order{n}); }}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STORAGE_DIR"] = f"{folder}/files"
        with own_database("registry"):
            client = prepare()
            push = interleaved(pushes(client, Path(folder)), rounds=ROUNDS)
            pull = interleaved(pulls(client, Path(folder)), rounds=ROUNDS)
    rows = [
        row("push as tar.gz, all content new", push, "push", "floor"),
        row("push as tar.gz, all content stored", push, "again", "floor"),
        row("dry run", push, "dry run", "protoc"),
        row("pull as tar.gz", pull, "archive", "raw read"),
        row("pull as zip", pull, "zip", "raw read"),
        row("pull file by file", pull, "one by one", "raw read"),
    ]
    report(
        "Registry",
        f"{FILES:,} files in a version, through the API in one process (no network), medians of {ROUNDS}"
        " interleaved rounds. The floor of a push: such files written and synced one by one, and protoc"
        " on them, parsing and linking; of a dry run, protoc; of a pull, the same files read.\n\n"
        + table(["work", "files/s", "floor, files/s", "ratio"], rows),
    )


def row(title: str, rates: dict[str, list[float]], ours: str, floor: str) -> list[str]:
    """A line of the table: the median rates and their ratio."""
    numbers = [f"{median(rates[name]):,.0f}" for name in (ours, floor)]
    return [title, *numbers, f"{ratio(rates, ours, floor):.2f}"]


def prepare():
    """A client of an owner who may push as much as they like."""
    from django.utils import timezone
    from rest_framework.test import APIClient

    from orgs.models import User
    from orgs.roles import Scope
    from orgs.services.organizations import create_organization
    from orgs.services.tokens import create_personal_token
    from quotas.models import LimitOverride
    from spoke.core import tenancy

    now = timezone.now()
    user = User.objects.create_user("bench@example.com")
    with tenancy.person(user.pk):
        org = create_organization(user=user, name="bench", display_name="Bench", now=now)
        _, raw = create_personal_token(user=user, name="b", scopes=[Scope.ADMIN], now=now)
    with tenancy.all_organizations(reason="benchmark"):
        for resource in ("versions", "storage", "api_requests"):
            LimitOverride.objects.create(org=org, resource=resource, limit=None, created_at=now)
    client = APIClient(HTTP_HOST="127.0.0.1")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    made = client.post(
        "/orgs/bench/modules", {"name": "m", "breaking_policy": "ignore"}, format="json"
    )
    assert made.status_code == 201, made.content
    return client


def contents(mark: str) -> dict[str, str]:
    """The files of a version, fifty a folder."""
    return {
        f"bench/v{n // 50}/order{n}.proto": CONTENT.format(n=n, folder=n // 50, mark=mark)
        for n in range(FILES)
    }


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def write(files: dict[str, str], root: Path, *, sync: bool) -> None:
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())


def pushes(client, folder: Path):
    """Ways to push, and the floors."""
    from registry.protoc import include_folder, protoc_path

    numbers = iter(range(1_000_000))
    same = packed(contents("same"))
    source = folder / "source"
    write(contents("source"), source, sync=False)

    def send(data: bytes, query: str = "") -> int:
        response = client.generic(
            "POST",
            f"/orgs/bench/modules/m/versions?version=1.{next(numbers)}.0{query}",
            data,
            content_type="application/gzip",
        )
        assert response.status_code in (200, 201), response.content
        return FILES

    def protoc() -> int:
        command = [str(protoc_path()), f"-I{source}", f"-I{include_folder()}"]
        paths = [str(source / path) for path in contents("")]
        subprocess.run([*command, f"--descriptor_set_out={folder}/out", *paths], check=True)
        return FILES

    def floor() -> int:
        write(contents("floor"), folder / f"floor{next(numbers)}", sync=True)
        return protoc()

    return {
        "push": lambda: send(packed(contents(f"new {next(numbers)}"))),
        "again": lambda: send(same),
        "dry run": lambda: send(same, "&dry_run=true"),
        "protoc": protoc,
        "floor": floor,
    }


def pulls(client, folder: Path):
    """Ways to pull the latest version, and the floor."""
    base = "/orgs/bench/modules/m/versions/latest"
    paths = list(contents(""))

    def get(url: str) -> int:
        response = client.get(url)
        assert response.status_code == 200, response.content
        return len(response.content)

    def archive(kind: str) -> int:
        get(f"{base}/archive?format={kind}")
        return FILES

    def one_by_one() -> int:
        for path in paths[:SINGLE]:
            get(f"{base}/files/{path}")
        return SINGLE

    def raw_read() -> int:
        for path in paths:
            (folder / "source" / path).read_bytes()
        return FILES

    return {
        "archive": lambda: archive("tar.gz"),
        "zip": lambda: archive("zip"),
        "one by one": one_by_one,
        "raw read": raw_read,
    }


if __name__ == "__main__":
    main()
