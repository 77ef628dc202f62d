"""Where the client's settings come from: the environment first, then what `login` has stored."""

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomli_w

from spoke.cli.errors import UsageProblem

VARIABLES = ("SPOKE_API_URL", "SPOKE_TOKEN", "SPOKE_ORG")
# Files of certificates: requests' own names for one, and OpenSSL's.
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Stored:
    """What the file holds; its token is for its api_url and no other."""

    api_url: str = ""
    token: str = ""
    organization: str = ""


@dataclass(frozen=True)
class Settings:
    """What a command works with; empty where nothing is known."""

    api_url: str
    token: str
    organization: str


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file of settings, by the XDG Base Directory Specification."""
    base = environ.get("XDG_CONFIG_HOME", "")
    # The specification has relative paths ignored.
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "spoke" / "config.toml"


def normal_url(url: str) -> str:
    """An address without its closing slash. Raises UsageProblem for what is no http(s) address."""
    try:
        parts = urlsplit(url.strip())
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError as exc:
        raise UsageProblem(f"{url!r} is not the address of an API: {exc}.") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageProblem(f"{url!r} is not the address of an API, as https://spoke.example.")
    if parts.username is not None:
        raise UsageProblem("An address of an API holds no user name.")
    return url.strip().rstrip("/")


def checked_token(text: str) -> str:
    """A token that can be sent. Raises UsageProblem for what cannot be one."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageProblem("That is no API token.", hint="Tokens begin with spk_.")
    return text


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. A stored token is never sent to another server than it was made for."""
    stored = read(config_path(environ))
    given, token, organization = (environ.get(name, "").strip() for name in VARIABLES)
    api_url = normal_url(given) if given else stored.api_url
    same_server = api_url == stored.api_url
    return Settings(
        api_url=api_url,
        token=token or (stored.token if same_server else ""),
        organization=organization or (stored.organization if same_server else ""),
    )


def trusted_certificates(environ: Mapping[str, str] = os.environ) -> str:
    """The file of certificates that the environment names; empty where it names none.

    Raises UsageProblem where there is no such file.
    """
    for name in CERTIFICATES:
        path = environ.get(name, "")
        if path and not Path(path).exists():
            raise UsageProblem(f"{name} names {path}, which is not there.")
    return next((environ[name] for name in CERTIFICATES if environ.get(name)), "")


def read(path: Path) -> Stored:
    """What `login` has stored; empty without a file. Raises UsageProblem for a damaged one."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Stored()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        hint = "`spoke logout` removes it."
        raise UsageProblem(f"{path} cannot be read: {exc}.", hint=hint) from exc
    except OSError as exc:
        raise UsageProblem(f"{path} cannot be read: {exc.strerror}.") from exc
    names = ("api_url", "token", "organization")
    return Stored(**{name: values[name] for name in names if isinstance(values.get(name), str)})


def write(path: Path, stored: Stored) -> None:
    """Replaces the file at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = tomli_w.dumps(
        {
            "api_url": stored.api_url,
            "token": stored.token,
            "organization": stored.organization,
        }
    )
    # mkstemp makes it 0600 from the first moment.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove(path: Path) -> bool:
    """Forgets what was stored; whether there was anything."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def set_in_environment(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Which of our variables are set."""
    return [name for name in VARIABLES if environ.get(name)]
