"""Modules, their immutable versions, and files stored once per organization."""

from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from registry.compile_models import CompileArtifact, CompileJob, Fault, JobStatus, Language

__all__ = [
    "Blob",
    "CompileArtifact",
    "CompileJob",
    "Fault",
    "JobStatus",
    "Language",
    "Module",
    "Version",
    "VersionFile",
]


class ModuleQuerySet(models.QuerySet["Module"]):
    def for_org(self, org_id: int) -> "ModuleQuerySet":
        return self.filter(org_id=org_id)

    def matching(self, search: str = "", is_public: bool | None = None) -> "ModuleQuerySet":
        """Those whose name or description contains `search`, in any case, and of that visibility."""
        found = self
        if search:
            found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
        return found if is_public is None else found.filter(is_public=is_public)

    def with_summary(self) -> "ModuleQuerySet":
        """Adds `versions_count` and `latest_version` (null without versions to be found by it)."""
        versions = Version.objects.filter(module=OuterRef("pk"))
        counted = versions.order_by().values("module").annotate(n=Count("pk")).values("n")
        latest = versions.in_use().latest_first().values("version")[:1]
        return self.annotate(
            versions_count=Coalesce(Subquery(counted), 0), latest_version=Subquery(latest)
        )


class BreakingPolicy(models.TextChoices):
    """What a push does whose version breaks the one before."""

    IGNORE = "ignore"
    WARN = "warn"
    REFUSE = "refuse"


class Module(models.Model):
    """A named set of Protobuf files that is versioned as a whole.

    `revision` rises with every change of what a reader sees, publishing a version included.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="modules")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, max_length=2000)
    is_public = models.BooleanField(default=False)
    breaking_policy = models.CharField(
        max_length=16, choices=BreakingPolicy, default="warn", db_default="warn"
    )
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
            models.CheckConstraint(
                condition=Q(breaking_policy__in=BreakingPolicy.values),
                name="registry_module_policy_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class VersionQuerySet(models.QuerySet["Version"]):
    def newest_first(self) -> "VersionQuerySet":
        """By semantic precedence; a release stands above its own pre-releases."""
        return self.order_by("-sort_key", "-id")

    def latest_first(self) -> "VersionQuerySet":
        """What `latest` means comes first: the newest release, or else the newest pre-release."""
        return self.order_by("is_prerelease", "-sort_key")

    def in_use(self) -> "VersionQuerySet":
        """Those that are not yanked."""
        return self.filter(yanked_at__isnull=True)


class Version(models.Model):
    """A published version; its files never change.

    One that is yanked stays readable by its name, and is otherwise passed over.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    module = models.ForeignKey(Module, models.CASCADE, related_name="versions")
    version = models.CharField(max_length=128)
    # Sorts as text in the order of semantic versioning's precedence.
    sort_key = models.CharField(max_length=512, db_collation="C")
    is_prerelease = models.BooleanField()
    description = models.TextField(blank=True, max_length=2000)
    size_bytes = models.BigIntegerField()
    created_by_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()
    yanked_at = models.DateTimeField(null=True)
    yank_reason = models.CharField(max_length=500, blank=True, default="", db_default="")

    objects = VersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["module", "version"], name="registry_version_unique"),
            # Build metadata does not make another version: 1.2.0+a and 1.2.0+b have one place.
            models.UniqueConstraint(
                fields=["module", "sort_key"], name="registry_version_precedence_unique"
            ),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="registry_version_size"),
        ]
        indexes = [
            models.Index(
                fields=["module", "is_prerelease", "-sort_key"], name="registry_version_latest"
            )
        ]

    def __str__(self) -> str:
        return self.version


class RetiredVersion(models.Model):
    """A number that a version had which is deleted; it may only be published again as it was.

    By the module's name, since modules are deleted too. `content` is the `Push.content_digest` of what
    it held.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    module = models.CharField(max_length=100)
    version = models.CharField(max_length=128)
    sort_key = models.CharField(max_length=512, db_collation="C")
    content = models.CharField(max_length=64)
    deleted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "module", "sort_key"], name="registry_retiredversion_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.module}@{self.version}"


class BlobQuerySet(models.QuerySet["Blob"]):
    def counted(self) -> "BlobQuerySet":
        """Those that some version holds: they make up the storage in use."""
        return self.filter(references__gt=0)

    def abandoned(self) -> "BlobQuerySet":
        """Those that no version holds."""
        return self.filter(references=0)


class Blob(models.Model):
    """File content of an organization, stored once under its SHA-256 and counted once.

    Without references it is announced by a push under way, or left over and soon swept; it is not
    counted then. `staged_at` is when a push last announced it. See registry.storage.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    references = models.BigIntegerField()
    created_at = models.DateTimeField()
    staged_at = models.DateTimeField()

    objects = BlobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "digest"], name="registry_blob_unique"),
            models.CheckConstraint(
                condition=Q(size_bytes__gte=0, references__gte=0), name="registry_blob_positive"
            ),
        ]
        indexes = [
            models.Index(
                fields=["staged_at"], condition=Q(references=0), name="registry_blob_abandoned"
            )
        ]

    def __str__(self) -> str:
        return self.digest


class VersionFile(models.Model):
    """A file of a version: its path, and the blob with its content."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    version = models.ForeignKey(Version, models.CASCADE, related_name="files")
    path = models.CharField(max_length=512)
    # RESTRICT, not PROTECT: purging an organization deletes both together.
    blob = models.ForeignKey(Blob, models.RESTRICT, related_name="files")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "path"], name="registry_versionfile_unique")
        ]

    def __str__(self) -> str:
        return self.path


class VersionDependency(models.Model):
    """A version that another needs, by itself or through others: all of them stand here.

    `org` is the dependant's. `target_org_id` is the owner's, who sees the row too, and so cannot delete
    what is depended upon. `target` is null when its organization was purged; `reference` says what it
    was, its owner named.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    version = models.ForeignKey(Version, models.CASCADE, related_name="dependencies")
    target = models.ForeignKey(Version, models.SET_NULL, null=True, related_name="dependants")
    target_org_id = models.BigIntegerField()
    reference = models.CharField(max_length=300)
    is_direct = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["version", "reference"], name="registry_versiondependency_unique"
            )
        ]
        # How the policies ask whether an organization depends on a version.
        indexes = [models.Index(fields=["org", "target"], name="registry_versiondep_by_org")]

    def __str__(self) -> str:
        return self.reference
