"""Where a module is read: among one's own, or among the public ones of others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from spoke.cli.client import address
from spoke.cli.errors import Refused, UsageProblem
from spoke.cli.references import LATEST, Reference, parse
from spoke.cli.running import Run

T = TypeVar("T")
NOT_FOUND = 404


def readable(run: Run, reference: Reference, read: Callable[[str], T]) -> T:
    """What `read` finds at the module's address; one that is not ours is looked for among the public."""
    org = run.organization(reference.organization)
    own = address("orgs", org, "modules", reference.module)
    with looked_for(reference, org):
        try:
            return read(own)
        except Refused as exc:
            # Without an organization it was ours that was meant.
            if exc.status != NOT_FOUND or not reference.organization:
                raise
        return read(address("modules", org, reference.module))


@contextmanager
def named_version(run: Run, text: str) -> Iterator[str]:
    """The address of a version that is to be changed, one of one's own. Raises UsageProblem."""
    reference = parse(text)
    if reference.version in ("", LATEST):
        raise UsageProblem(f"{text!r}: name the version itself, as {reference.module}@1.2.0.")
    org = run.organization(reference.organization)
    with looked_for(reference, org, "among yours"):
        yield address("orgs", org, "modules", reference.module, "versions", reference.version)


@contextmanager
def looked_for(
    reference: Reference, org: str, where: str = "among yours and what is public"
) -> Iterator[None]:
    """Says of what is not found where it was looked for."""
    try:
        yield
    except Refused as exc:
        if exc.status == NOT_FOUND:
            version = f"@{reference.version}" if reference.version else ""
            named = f"{org}/{reference.module}{version}"
            exc.hint = f"Looked for {named}, {where}."
        raise
