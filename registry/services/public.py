"""Public modules, as anybody reads them who is signed in.

For a scope with `shared` (docs/adr/0019). An organization that is closed shows nothing; what is not
public is not told from what is not there.
"""

import re

from django.db.models import Q

from orgs.models import OrganizationStatus
from registry.files import path_problem
from registry.models import Module, Version, VersionDependency, VersionFile, VersionQuerySet
from registry.services.modules import NAME
from registry.services.versions import choose_version
from spoke.core import tenancy
from spoke.core.errors import NotFound

ORG = re.compile(r"[a-z][a-z0-9-]*")
MISSING = "There is no such public module."


def find_public_module(*, org: str, name: str) -> Module:
    """The public module of this owner and name, with its summary and owner. Raises NotFound."""
    found = None
    if NAME.fullmatch(name) and ORG.fullmatch(org):
        public = Module.objects.filter(is_public=True, org__name=org, name=name)
        open_ones = public.exclude(org__status=OrganizationStatus.CLOSED)
        found = open_ones.with_summary().select_related("org").first()
    if found is None:
        raise NotFound(MISSING)
    return found


def public_versions(*, org: str, name: str) -> VersionQuerySet:
    """The versions of a public module. Raises NotFound."""
    return Version.objects.filter(module=find_public_module(org=org, name=name).pk)


def find_public_version(*, org: str, name: str, version: str) -> Version:
    """A version of a public module, or one that the caller's organization depends on.

    Raises NotFound.
    """
    try:
        versions = public_versions(org=org, name=name)
    except NotFound:
        asked = f"{org}/{name}@{version}"
        kept = _kept(asked) if asked.isprintable() else None
        if kept is None:
            raise
        return kept
    return choose_version(versions, version)


def _kept(reference: str) -> Version | None:
    rows = VersionDependency.objects.filter(
        ~Q(target=None), org_id=tenancy.current().org_id, reference=reference
    )
    target = rows.values_list("target_id", flat=True).first()
    return None if target is None else Version.objects.filter(pk=target).first()


def find_public_file(*, org: str, name: str, version: str, path: str) -> VersionFile:
    """A file of what `find_public_version` finds, with its blob. Raises NotFound."""
    found = find_public_version(org=org, name=name, version=version)
    file = None
    if path_problem(path) is None:
        file = found.files.select_related("blob").filter(path=path).first()
    if file is None:
        raise NotFound("There is no such file in this version.")
    return file
