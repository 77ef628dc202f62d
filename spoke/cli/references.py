"""How a module is named on the command line: [ORGANIZATION/]MODULE[@VERSION]."""

import re
from dataclasses import dataclass

from spoke.cli.errors import UsageProblem

FORM = re.compile(
    r"(?:(?P<organization>[a-z0-9][a-z0-9-]*)/)?"
    r"(?P<module>[a-z][a-z0-9_-]*)"
    r"(?:@(?P<version>[0-9A-Za-z][0-9A-Za-z.+-]*))?"
)
ORGANIZATION = re.compile(r"[a-z0-9][a-z0-9-]*")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")
LATEST = "latest"


@dataclass(frozen=True)
class Reference:
    """A module, and perhaps whose and which version; empty where that was not said."""

    organization: str
    module: str
    version: str


def parse(text: str) -> Reference:
    """Reads a reference. Raises UsageProblem when it is none."""
    found = FORM.fullmatch(text)
    if not found:
        raise UsageProblem(
            f"{text!r} does not name a module; write payments, payments@1.2.0 or acme/payments@1.2.0."
        )
    return Reference(**{name: value or "" for name, value in found.groupdict().items()})


def parse_module(text: str) -> Reference:
    """Reads a reference without a version. Raises UsageProblem."""
    reference = parse(text)
    if reference.version:
        raise UsageProblem(f"{text!r}: no version belongs here.")
    return reference


def check_version(text: str) -> str:
    """A version as it was given. Raises UsageProblem for what cannot stand in an address."""
    if not VERSION.fullmatch(text):
        raise UsageProblem(f"{text!r} is not a version; write one as 1.2.0.")
    return text


def check_organization(text: str) -> str:
    """An organization's name or number as it was given. Raises UsageProblem for what can be neither."""
    if not ORGANIZATION.fullmatch(text):
        raise UsageProblem(f"{text!r} does not name an organization.")
    return text
