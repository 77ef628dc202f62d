"""Plans, a storage folder for each test, and short ways to make modules and versions."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from conftest import Cast
from quotas.models import UsageGauge
from registry.tests.compiling import SOURCES

PROTO = 'syntax = "proto3";\n'


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, settings: Any) -> Path:
    """The folder in which this test's files lie."""
    backend = "registry.storage.AtomicFileSystemStorage"
    default = {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    return tmp_path


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of this test alone."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def plans(db: None) -> None:
    """The seeded catalogue: every organization is on the free plan."""
    call_command("seed_plans", verbosity=0)


@pytest.fixture
def owner(plans: None, api: Callable[..., APIClient]) -> APIClient:
    """The owner's client, with plans in force."""
    return api("owner")


@pytest.fixture
def org(owner: APIClient, cast: Cast) -> Cast:
    """acme, with version 1.0.0 of pay. Its orders reach no worker until a test runs them."""
    make_module(owner)
    assert push(owner, "1.0.0", SOURCES).status_code == 201
    return cast


@pytest.fixture
def committed(committed_cast: Cast) -> Cast:
    """The committed cast, with plans in force."""
    call_command("seed_plans", verbosity=0)
    return committed_cast


def make_module(client: APIClient, name: str = "pay", org: str = "acme", **fields: Any) -> Any:
    """A module made through the API."""
    response = client.post(f"/orgs/{org}/modules", {"name": name, **fields})
    assert response.status_code == 201, response.content
    return response.json()


def files(**contents: str) -> list[dict[str, str]]:
    """Files as a push takes them: `files(a="…")` is a.proto."""
    return [{"path": f"{name}.proto", "content": text} for name, text in contents.items()]


def push(
    client: APIClient,
    version: str,
    content: list[dict[str, str]] | None = None,
    module: str = "pay",
    **fields: Any,
) -> Any:
    """The answer to pushing a version of acme's module."""
    body = {"version": version, "files": content or files(a=PROTO), **fields}
    return client.post(f"/orgs/acme/modules/{module}/versions", body)


def gauge(resource: str, org_id: int, subject: int = 0) -> int:
    """The level of a gauge, 0 without a row; needs the door."""
    rows = UsageGauge.objects.filter(org_id=org_id, resource=resource, subject=subject)
    return rows.values_list("used", flat=True).first() or 0


def contents_in(folder: Path) -> list[str]:
    """The names of all files below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
