"""Numbers of versions that are deleted: none ever comes to mean something else."""

from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from registry import semver
from registry.files import Push
from registry.models import Module, RetiredVersion, Version
from spoke.core.errors import Conflict

# In the database, for a module may hold hundreds of thousands of files. As Push.content_digest says.
RETIRE = """
INSERT INTO registry_retiredversion (org_id, module, version, sort_key, content, deleted_at)
SELECT v.org_id, %s, v.version, v.sort_key, encode(sha256(convert_to(
           string_agg(f.path || chr(10) || b.digest || chr(10), '' ORDER BY f.path COLLATE "C"), 'UTF8'
       )), 'hex'), %s
FROM registry_version v
JOIN registry_versionfile f ON f.version_id = v.id
JOIN registry_blob b ON b.id = f.blob_id
WHERE v.id = ANY(%s)
GROUP BY v.id
ON CONFLICT (org_id, module, sort_key) DO NOTHING
"""


def retire_versions(*, module: Module, versions: QuerySet[Version], now: datetime) -> None:
    """It is kept what these versions of a locked module held, which are about to be deleted."""
    ids = list(versions.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(RETIRE, [module.name, now, ids])


def refuse_retired(module: Module, push: Push) -> None:
    """Raises Conflict (`version_deleted`) where the number had other content once."""
    sort_key = semver.parse(push.version).sort_key
    numbers = RetiredVersion.objects.filter(org_id=module.org_id, module=module.name)
    retired = numbers.filter(sort_key=sort_key).first()
    if retired is not None and retired.content != push.content_digest:
        raise Conflict(
            f"Version {retired.version} of {module.name} was published with other content, and"
            " deleted; a number never means something else. Take the next one.",
            code="version_deleted",
            field="version",
        )
