"""The command line as a process, and what holds of every command."""

import json
import os
import signal
import ssl
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import click
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spoke.cli import __version__, config
from spoke.cli.app import main
from tests.cli.conftest import TOKEN
from tests.cli.stand_in import Reply, standing_in
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


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


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


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_pipeline_s_end_are_130(server, by):
    child: list[subprocess.Popen[str]] = []

    def interrupt(asked):
        child[0].send_signal(by)
        child[0].wait(timeout=30)
        return Reply(200, {})

    server.on("GET /me", interrupt)
    child.append(process("whoami", "--json", SPOKE_API_URL=server.url, SPOKE_TOKEN=TOKEN))
    out, err = child[0].communicate(timeout=60)
    assert (child[0].returncode, err) == (130, "\nspoke: interrupted\n")
    assert json.loads(out) == {"error": {"detail": "Interrupted.", "exit_code": 130}}


def test_a_server_of_one_s_own_certificate_is_trusted_by_ssl_cert_file(
    tmp_path, home, spoke, monkeypatch
):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SPOKE_TOKEN", TOKEN)
    with standing_in(context) as server:
        server.on("GET /me", Reply(200, {"kind": "user", "email": "a@b.example"}))
        monkeypatch.setenv("SPOKE_API_URL", server.url)
        done = spoke("whoami", "--json")
        assert (done.code, "no valid certificate" in done.err, server.asked) == (4, True, [])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert spoke("whoami", "--json").code == 0
        assert server.calls() == ["GET /me"]


def test_a_reader_that_leaves_is_no_error_of_ours(server):
    server.on("GET /me", Reply(200, {"kind": "user"}))
    server.on("GET /orgs", Reply(200, {"results": [{"name": "x" * 100_000}], "next": None}))
    with process("orgs", "--json", SPOKE_API_URL=server.url, SPOKE_TOKEN=TOKEN) as child:
        child.stdout.read(10)
        child.stdout.close()
        assert child.stderr.read() == ""
