"""The command-line client, run as a shell would, with a home of its own."""

import gc
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from django.core.management import call_command
from django.utils import timezone

from orgs.roles import Scope
from orgs.services.tokens import create_personal_token
from spoke.cli.app import run as run_cli
from spoke.cli.config import CERTIFICATES
from spoke.core import tenancy
from tests.cli.stand_in import StandIn, standing_in

TOKEN = "spk_" + "t" * 40


@dataclass(frozen=True)
class Result:
    """What a command line left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Spoke = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings but a test's own; the current folder is empty."""
    for name in ("SPOKE_TOKEN", "SPOKE_API_URL", "SPOKE_ORG", "COLUMNS", *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have slept, each time."""
    slept: list[float] = []
    # Of tenacity alone: other threads of this process may be sleeping.
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture
def spoke(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> Spoke:
    """`spoke("push", …)` runs a command line; `stdin` is what it may read."""

    def run(*arguments: object, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run_cli([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        # urllib3 closes connections when their pool is collected; the server waits for it.
        gc.collect()
        return Result(code, out, err)

    return run


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A server that answers by a test's script."""
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture
def signed_in(home: Path, server: StandIn, pauses, monkeypatch) -> StandIn:
    """The scripted server, with a token for it and an organization."""
    monkeypatch.setenv("SPOKE_API_URL", server.url)
    monkeypatch.setenv("SPOKE_TOKEN", TOKEN)
    monkeypatch.setenv("SPOKE_ORG", "acme")
    return server


@pytest.fixture
def token(committed_cast):
    """`token("owner")` is a personal token of one of the cast, with scope admin unless said."""
    call_command("seed_plans", verbosity=0)

    def make(who: str, *scopes: Scope) -> str:
        user = getattr(committed_cast, who)
        with tenancy.person(user.pk):
            return create_personal_token(
                user=user, name="laptop", scopes=list(scopes) or [Scope.ADMIN], now=timezone.now()
            )[1]

    return make


@pytest.fixture
def login(spoke, live_server, token):
    """Signs one of the cast in."""

    def sign_in(who: str, *scopes: Scope) -> None:
        done = spoke("login", "--api-url", live_server.url, "--token", token(who, *scopes))
        assert done.code == 0, done.err

    return sign_in
