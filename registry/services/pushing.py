"""The first half of a push: checked, compiled, compared and stored, before the transaction.

What is refused here leaves nothing behind but announced content, which the sweep takes.
"""

from datetime import datetime

from django.db import transaction

from quotas.resources import Resource
from quotas.services.reservations import reserve
from registry import storage
from registry.files import Push
from registry.models import BreakingPolicy, Module, Version
from registry.services.contents import announce_contents, unheld_bytes
from registry.services.dependencies import Dependency, SourceFile, resolve, source_files
from registry.services.modules import find_module
from registry.services.validation import compare_with_baseline, descriptors_of, find_baseline
from registry.services.versions import CheckedPush, refuse_breaking, refuse_existing
from spoke.core import tenancy


def check_push(*, org_id: int, module_name: str, push: Push, now: datetime) -> CheckedPush:
    """The push would be published as things are; nothing is stored or counted.

    Not for calling inside a transaction. Raises NotFound, Conflict (`version_exists`,
    `version_deleted`, `breaking_change`), QuotaExceeded, ServiceUnavailable, and InvalidInput for a
    dependency (`registry.services.dependencies`) or for files that do not compile
    (`registry.services.validation`).
    """
    with tenancy.organization(org_id):
        module = find_module(org_id=org_id, name=module_name)
        refuse_existing(module, push)
        _rehearse(module, push, now)
        needed, sources, baseline = _surroundings(module, push)
    descriptors = descriptors_of(push=push, needed=sources)
    comparison = compare_with_baseline(
        baseline=baseline,
        push=push,
        descriptors=descriptors,
        needed_ids=[one.version.pk for one in needed],
    )
    refuse_breaking(module, comparison)
    return CheckedPush(push, tuple(needed), comparison)


def _surroundings(
    module: Module, push: Push
) -> tuple[list[Dependency], list[SourceFile], Version | None]:
    needed = resolve(module=module, references=push.dependencies)
    sources = source_files(org_id=module.org_id, versions=[one.version for one in needed])
    if module.breaking_policy == BreakingPolicy.IGNORE:
        return needed, sources, None
    return needed, sources, find_baseline(module=module, version=push.version)


def prepare_push(*, org_id: int, module_name: str, push: Push, now: datetime) -> CheckedPush:
    """The push is checked and its content in storage when this returns; the last word is
    `publish_version`'s.

    Not for calling inside a transaction. Raises as `check_push` does.
    """
    checked = check_push(org_id=org_id, module_name=module_name, push=push, now=now)
    with tenancy.organization(org_id):
        missing = announce_contents(org_id=org_id, contents=push.contents, now=now)
    storage.write_contents(org_id, missing)
    return checked


def _rehearse(module: Module, push: Push, now: datetime) -> None:
    """Raises QuotaExceeded as a push at this moment would, and reserves nothing.

    Without it anybody over their limit could fill the disk for a day with refused pushes.
    """
    with transaction.atomic():
        reserve(
            org_id=module.org_id, resource=Resource.VERSIONS, subject=module.pk, amount=1, now=now
        )
        new_bytes = unheld_bytes(org_id=module.org_id, contents=push.contents)
        reserve(org_id=module.org_id, resource=Resource.STORAGE, amount=new_bytes, now=now)
        transaction.set_rollback(True)
