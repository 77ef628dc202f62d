"""How a version names what it depends on: `common@1.2.0`, or `googleapis/common@1.0.0`. Pure."""

import re
from dataclasses import dataclass

from registry import semver

MAX_DEPENDENCIES = 50
_REFERENCE = re.compile(
    r"(?:(?P<org>[a-z][a-z0-9-]{0,99})/)?(?P<module>[a-z][a-z0-9_-]{0,99})@(?P<version>[^@/]+)"
)


class InvalidReference(ValueError):
    """The text names no exact version of a module; the message says why."""


@dataclass(frozen=True, order=True)
class Reference:
    """An exact version of a module. `org` is the owner's slug; None is one's own organization."""

    org: str | None
    module: str
    version: str

    def __str__(self) -> str:
        owner = "" if self.org is None else f"{self.org}/"
        return f"{owner}{self.module}@{self.version}"

    def within(self, org: str) -> "Reference":
        """The same with its owner named, seen from the organization `org`."""
        return Reference(self.org or org, self.module, self.version)

    def seen_from(self, org: str) -> "Reference":
        """The same as the organization `org` writes it: without an owner where that is itself."""
        return Reference(None if self.org == org else self.org, self.module, self.version)


def parse_reference(text: str) -> Reference:
    """The reference that `text` states. Raises InvalidReference; ranges are not taken."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidReference("Name a dependency as module@1.2.0 or organization/module@1.2.0.")
    try:
        semver.parse(match["version"])
    except semver.InvalidVersion as exc:
        raise InvalidReference(f"A dependency names one exact version. {exc}") from exc
    return Reference(match["org"], match["module"], match["version"])
