"""The command line as a process, and what holds of every command."""

import os
import signal
import subprocess
import sys
import tomllib

import click
import pytest

from spoke.cli import __version__, config
from spoke.cli.app import main
from tests.cli.conftest import TOKEN
from tests.cli.stand_in import Reply
from tests.support.running import ROOT


def leaves(group: click.Group, *before: str) -> list[tuple[str, ...]]:
    """Every command, by its words."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += leaves(command, *before, name)
        else:
            found.append((*before, name))
    return found


def process(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPOKE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "spoke.cli", *arguments],
        cwd=ROOT,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in a shell's background has SIGINT ignored, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - at once
    )


def test_the_version_is_the_project_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"]
    out, err = process("--version").communicate(timeout=30)
    assert (out, err) == (f"spoke {__version__}\n", "")


def test_what_an_installed_client_needs_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) <= set((ROOT / "requirements.in").read_text().split())
    assert project["scripts"] == {"spoke": "spoke.cli.app:entry"}


def test_nothing_of_the_server_is_loaded():
    code = "import spoke.cli.app, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"django", "celery", "rest_framework", "orgs", "registry"} & set(eval(done.stdout))


@pytest.mark.parametrize("command", leaves(main), ids=" ".join)
def test_every_command_has_the_same_options_and_is_documented(spoke, command):
    done = spoke(*command, "--help")
    assert done.code == 0
    for option in ("--json", "--quiet", "--org"):
        assert option in done.out
    assert f"spoke {' '.join(command)}".removesuffix(" list") in (ROOT / "docs/cli.md").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["push"],
        ["push", "payments", "1.0.0", "/nowhere"],
        ["push", "pay ments", "1.0.0", "."],
        ["push", "payments", "..", "."],
        ["push", "payments@1.0.0", "1.0.0", "."],
        ["pull", "../x"],
        ["pull", "a/b/c"],
        ["pull", "payments@"],
        ["compile", "payments"],
        ["compile", "payments", "--job", ".."],
        ["yank", "payments"],
        ["yank", "payments@latest"],
        ["unyank", "payments"],
        ["cancel", "payments", "7"],
        ["cancel", "payments@1.2.0", "../../archive"],
        ["orgs", "use", ".."],
        ["usage", "--colour"],
        ["fly"],
    ],
)
def test_wrong_usage_ends_with_2_and_calls_nobody(spoke, signed_in, arguments):
    done = spoke(*arguments)
    assert (done.code, done.out, signed_in.asked) == (2, "", [])
    assert done.err


@pytest.mark.parametrize("arguments", [["push"], ["push", "a", "1.0.0", "/nowhere"], ["fly"]])
def test_wrong_usage_too_is_a_document_with_json(spoke, signed_in, arguments):
    done = spoke(*arguments, "--json")
    assert (done.code, done.document["error"]["exit_code"]) == (2, 2)
    assert done.document["error"]["detail"] in done.err


def test_without_a_sign_in_every_command_says_so(spoke, home):
    (home / "a.proto").write_text('syntax = "proto3";\n')
    for arguments in (
        ["whoami"],
        ["orgs"],
        ["modules"],
        ["usage"],
        ["pull", "a"],
        ["push", "a", "1.0.0", "."],
    ):
        assert spoke(*arguments).code == 3


def test_a_server_that_is_away_ends_with_4(spoke, home, pauses, monkeypatch):
    monkeypatch.setenv("SPOKE_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SPOKE_TOKEN", TOKEN)
    done = spoke("usage", "--org", "acme", "--json", "--quiet")
    assert done.code == 4
    assert done.document == {
        "error": {
            "detail": "No answer from http://127.0.0.1:9: Connection refused.",
            "exit_code": 4,
        }
    }
    assert done.err == "spoke: No answer from http://127.0.0.1:9: Connection refused.\n"


def test_another_api_is_not_taken_for_spoke_s(spoke, signed_in):
    signed_in.on("GET /me", Reply(200, {"login": "octocat"}))
    done = spoke("login", "--api-url", signed_in.url, "--token", TOKEN)
    assert (done.code, "does not answer as Spoke does" in done.err) == (4, True)
    assert not config.config_path().exists()


def test_another_api_is_not_taken_for_spoke_s_by_whoami_either(spoke, signed_in):
    signed_in.on("GET /me", Reply(200, {"login": "octocat"}))
    done = spoke("whoami")
    assert (done.code, "is this its API?" in done.err) == (4, True)


def test_a_damaged_file_of_settings_can_be_removed(spoke, home):
    path = config.config_path()
    path.parent.mkdir(parents=True)
    path.write_text("token = ")
    assert (spoke("whoami").code, spoke("logout").code, path.exists()) == (2, 0, False)


def test_ctrl_c_ends_with_130(server):
    child: list[subprocess.Popen[str]] = []

    def interrupt(asked):
        child[0].send_signal(signal.SIGINT)
        child[0].wait(timeout=30)
        return Reply(200, {})

    server.on("GET /me", interrupt)
    child.append(process("whoami", SPOKE_API_URL=server.url, SPOKE_TOKEN=TOKEN))
    out, err = child[0].communicate(timeout=60)
    assert (child[0].returncode, out, err) == (130, "", "\nspoke: interrupted\n")


def test_a_reader_that_leaves_is_no_error_of_ours(server):
    server.on("GET /me", Reply(200, {"kind": "user"}))
    server.on("GET /orgs", Reply(200, {"results": [{"name": "x" * 100_000}], "next": None}))
    with process("orgs", "--json", SPOKE_API_URL=server.url, SPOKE_TOKEN=TOKEN) as child:
        child.stdout.read(10)
        child.stdout.close()
        assert child.stderr.read() == ""
