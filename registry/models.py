"""Modules, their immutable versions, and files stored once per organization."""

from django.db import models
from django.db.models import Q


class ModuleQuerySet(models.QuerySet["Module"]):
    def for_org(self, org_id: int) -> "ModuleQuerySet":
        return self.filter(org_id=org_id)


class Module(models.Model):
    """A named set of Protobuf files that is versioned as a whole."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="modules")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, max_length=2000)
    is_public = models.BooleanField(default=False)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = ModuleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "name"], name="registry_module_name_unique"),
            models.CheckConstraint(
                condition=Q(name__regex=r"^[a-z][a-z0-9_-]*$"), name="registry_module_name_form"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class VersionQuerySet(models.QuerySet["Version"]):
    def newest_first(self) -> "VersionQuerySet":
        """By semantic precedence; a release stands above its own pre-releases."""
        return self.order_by("-sort_key", "-id")


class Version(models.Model):
    """A published version; its files never change."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    module = models.ForeignKey(Module, models.CASCADE, related_name="versions")
    version = models.CharField(max_length=128)
    # Sorts as text in the order of semantic versioning's precedence.
    sort_key = models.CharField(max_length=512, db_collation="C")
    description = models.TextField(blank=True, max_length=2000)
    size_bytes = models.BigIntegerField()
    created_by_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()

    objects = VersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["module", "version"], name="registry_version_unique"),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="registry_version_size"),
        ]
        indexes = [models.Index(fields=["module", "-sort_key"], name="registry_version_newest")]

    def __str__(self) -> str:
        return self.version


class Blob(models.Model):
    """File content of an organization, stored once under its SHA-256 and counted once."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    references = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "digest"], name="registry_blob_unique"),
            models.CheckConstraint(
                condition=Q(size_bytes__gte=0, references__gte=0), name="registry_blob_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.digest


class VersionFile(models.Model):
    """A file of a version: its path, and the blob with its content."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    version = models.ForeignKey(Version, models.CASCADE, related_name="files")
    path = models.CharField(max_length=512)
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="files")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "path"], name="registry_versionfile_unique")
        ]

    def __str__(self) -> str:
        return self.path
