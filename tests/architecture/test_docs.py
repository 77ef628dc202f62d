"""The documents say what the code does."""

import re

import pytest
from django.test import Client

from spoke.core.management.commands.document_settings import page
from tests.support.running import ROOT

SOURCES = [
    path
    for package in ("spoke/core", "orgs", "quotas", "registry", "billing")
    for path in (ROOT / package).rglob("*.py")
    if "tests" not in path.parts and "migrations" not in path.parts
]


def test_every_error_code_is_documented():
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/errors.md").read_text()))
    raised = set()
    for path in SOURCES:
        text = path.read_text()
        raised |= set(re.findall(r"status, code, title = \d+, \"([a-z_]+)\"", text))
        raised |= set(re.findall(r"^    code, title = \"([a-z_]+)\"", text, re.MULTILINE))
        if "/api/" not in str(path):
            raised |= set(re.findall(r"code=\"([a-z_]+)\"", text))
    assert len(raised) > 30
    assert raised - documented == set()


def test_every_setting_is_documented():
    assert (ROOT / "docs/configuration.md").read_text() == page()


def test_every_direct_dependency_has_its_reason():
    text = (ROOT / "docs/dependencies.md").read_text()
    named = set(re.findall(r"^\| ([a-z0-9-]+) \| \w", text, re.MULTILINE)) - {"package"}
    direct = set()
    for name in ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / name).read_text().splitlines():
            if found := re.match(r"[a-z0-9-]+", line.removeprefix("-r")):
                direct.add(found[0])
    assert named == direct - {"requirements"}


def test_the_type_of_a_problem_leads_to_its_description():
    response = Client().get("/docs/errors")
    assert response.status_code == 200
    assert "`quota_exceeded`" in response.content.decode()


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
