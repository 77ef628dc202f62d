"""Where settings come from, and who may read them."""

import stat

import pytest

from spoke.cli import config
from spoke.cli.config import Settings, Stored
from spoke.cli.errors import UsageProblem

KEPT = Stored(api_url="https://spoke.example", token='spk_"\\ü', organization="acme")


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    config.write(config.config_path(environ), KEPT)
    return environ


def test_what_was_stored_is_read_again_and_is_private(environ):
    path = config.config_path(environ)
    assert config.read(path) == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


def test_a_file_that_others_could_read_is_private_once_written_anew(environ):
    path = config.config_path(environ)
    path.chmod(0o644)
    config.write(path, KEPT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_environment_wins(environ):
    assert config.load(environ) == Settings("https://spoke.example", KEPT.token, "acme")
    given = {**environ, "SPOKE_TOKEN": "spk_other", "SPOKE_ORG": "rival"}
    assert config.load(given) == Settings("https://spoke.example", "spk_other", "rival")


def test_a_secret_s_closing_newline_does_no_harm(environ):
    assert config.load({**environ, "SPOKE_TOKEN": "spk_other\n"}).token == "spk_other"


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "tökén"])
def test_what_cannot_be_a_token_is_not_sent(token):
    with pytest.raises(UsageProblem, match="no API token"):
        config.checked_token(token)


def test_a_stored_token_goes_to_no_other_server(environ):
    given = {**environ, "SPOKE_API_URL": "https://evil.example"}
    assert config.load(given) == Settings("https://evil.example", "", "")
    same = {**environ, "SPOKE_API_URL": "https://spoke.example/"}
    assert config.load(same).token == KEPT.token


def test_without_a_file_there_is_nothing(tmp_path):
    assert config.load({"XDG_CONFIG_HOME": str(tmp_path)}) == Settings("", "", "")
    assert config.remove(config.config_path({"XDG_CONFIG_HOME": str(tmp_path)})) is False


@pytest.mark.parametrize("content", ["token = ", "\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "config.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageProblem, match=r"config\.toml cannot be read"):
        config.read(path)


def test_a_relative_xdg_folder_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".config/spoke/config.toml"
    assert config.config_path({"XDG_CONFIG_HOME": "here"}) == expected
    assert config.config_path({}) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "spoke.example", "ftp://spoke.example", "http://", "https://a@b", "https://a/?x=1"),
        *("http://[::1", "http://a:99999", "http://a:b"),
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageProblem):
        config.normal_url(url)


def test_certificates_are_those_that_the_environment_names(tmp_path):
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    one.touch()
    other.touch()
    assert config.trusted_certificates({}) == ""
    assert config.trusted_certificates({"SSL_CERT_FILE": str(one)}) == str(one)
    both = {"SSL_CERT_FILE": str(one), "REQUESTS_CA_BUNDLE": str(other)}
    assert config.trusted_certificates(both) == str(other)
    with pytest.raises(UsageProblem, match=r"SSL_CERT_FILE names /nowhere\.pem"):
        config.trusted_certificates({"SSL_CERT_FILE": "/nowhere.pem"})
