"""Semantic versions after semver.org 2.0.0. Pure.

A version is stored with a sort key: text whose order, byte by byte (collation "C"), is the
precedence of semantic versioning. So the database sorts, pages and finds the newest by an index.
"""

import re
from dataclasses import dataclass

MAX_LENGTH = 128
MAX_DIGITS = 18  # a number of so many digits still fits a signed 64-bit integer

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_VERSION = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<prerelease>{_PRERELEASE}(?:\.{_PRERELEASE})*))?"
    rf"(?:\+(?P<build>{_BUILD}(?:\.{_BUILD})*))?"
)
# Marks in the key. In ASCII: END < "-" < digits < letters < RELEASE.
_END = "!"
_RELEASE = "~"
_NUMERIC, _ALPHANUMERIC = "1", "2"


class InvalidVersion(ValueError):
    """The text is not a semantic version that Spoke takes; the message says why."""


@dataclass(frozen=True)
class SemanticVersion:
    """A parsed version. `core` is major, minor and patch; identifiers are kept as text."""

    core: tuple[str, str, str]
    prerelease: tuple[str, ...]
    build: tuple[str, ...]

    @property
    def is_prerelease(self) -> bool:
        """Whether it stands before the release of the same numbers."""
        return bool(self.prerelease)

    @property
    def sort_key(self) -> str:
        """Compares byte by byte as the version does by precedence; build metadata has no part."""
        numbers = ".".join(_number_key(number) for number in self.core)
        if not self.prerelease:
            return numbers + _RELEASE
        return numbers + "-" + "".join(_identifier_key(part) for part in self.prerelease)


def parse(text: str) -> SemanticVersion:
    """The version that `text` states.

    Raises InvalidVersion when it is not one by semver.org's grammar, is longer than 128 characters or
    has a number of more than 18 digits.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidVersion(f"A version has at most {MAX_LENGTH} characters.")
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InvalidVersion("Not a semantic version (semver.org): 1.2.0, 2.0.0-beta.1.")
    version = SemanticVersion(
        core=(match["major"], match["minor"], match["patch"]),
        prerelease=tuple(match["prerelease"].split(".")) if match["prerelease"] else (),
        build=tuple(match["build"].split(".")) if match["build"] else (),
    )
    numbers = [*version.core, *(part for part in version.prerelease if part.isdigit())]
    if any(len(number) > MAX_DIGITS for number in numbers):
        raise InvalidVersion(f"A number in a version has at most {MAX_DIGITS} digits.")
    return version


def may_break(*, before: str, after: str) -> bool:
    """Whether the numbers alone say that `after` may break what `before` was (docs/adr/0022).

    A pre-release promises nothing; else the major number has to rise, or before 1.0.0 the minor one.
    """
    if parse(before).is_prerelease:
        return True
    old, new = (tuple(int(number) for number in parse(text).core) for text in (before, after))
    return new[0] > old[0] or (new[0] == old[0] == 0 and new[1] > old[1])


def _number_key(digits: str) -> str:
    # No leading zeros, so a longer number is a greater one: "a5" < "b10" < "c100".
    return chr(ord("a") + len(digits) - 1) + digits


def _identifier_key(identifier: str) -> str:
    # Numeric ones stand below the others. The end mark stands below any character of an identifier,
    # so "alpha" < "alpha1"; and a shorter list of identifiers is a prefix, thus less.
    if identifier.isdigit():
        return _NUMERIC + _number_key(identifier) + _END
    return _ALPHANUMERIC + identifier + _END
