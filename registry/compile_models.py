"""Compile jobs, and the archives that they leave."""

from django.db import models
from django.db.models import Q


class Language(models.TextChoices):
    """What protoc generates by itself; `kotlin` includes the Java that it builds upon."""

    PYTHON = "python", "Python"
    CPP = "cpp", "C++"
    CSHARP = "csharp", "C#"
    JAVA = "java", "Java"
    KOTLIN = "kotlin", "Kotlin"
    OBJC = "objc", "Objective-C"
    PHP = "php", "PHP"
    RUBY = "ruby", "Ruby"


class JobStatus(models.TextChoices):
    """`queued` → `running` → one of the three ends; a job whose worker died is queued again."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Fault(models.TextChoices):
    """Whose fault a failure is: the user's is charged for, the service's is not."""

    USER = "user"
    SERVICE = "service"


UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
FINISHED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


class CompileArtifact(models.Model):
    """A stored archive of generated code, kept once for the same input, options and compiler.

    `digest` stands for all of these (registry.compiling); `sha256` is of the archive itself. It is no
    part of the organization's storage, and goes when nobody has used it for a while.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    files = models.IntegerField()
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "digest"], name="registry_artifact_unique"),
            models.CheckConstraint(
                condition=Q(size_bytes__gte=0, files__gte=0), name="registry_artifact_positive"
            ),
        ]
        indexes = [models.Index(fields=["last_used_at"], name="registry_artifact_unused")]

    def __str__(self) -> str:
        return self.sha256


class CompileJob(models.Model):
    """An order to generate code of a version.

    `counted`: one compile job of the quota stands for it. `attempts` also tells workers apart: one that
    lost its lease (`lease_until`) can no longer change a job that another has taken up since.
    `queued_at` is when it was ordered, or last handed to the queue anew; one that lies ahead is when it
    may be.
    """

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="+", db_index=False)
    version = models.ForeignKey(
        "registry.Version", models.CASCADE, related_name="compile_jobs", db_index=False
    )
    language = models.CharField(max_length=16, choices=Language.choices)
    grpc = models.BooleanField(default=False)
    include_dependencies = models.BooleanField(default=False)
    compiler = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    status = models.CharField(max_length=9, choices=JobStatus.choices, default=JobStatus.QUEUED)
    counted = models.BooleanField()
    cached = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    artifact = models.ForeignKey(
        CompileArtifact, models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    error_code = models.CharField(max_length=32, blank=True)
    error_detail = models.TextField(blank=True)
    error_fault = models.CharField(max_length=7, choices=Fault.choices, blank=True)
    log = models.TextField(blank=True)
    created_by_id = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    queued_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UNFINISHED, finished_at__isnull=True)
                | Q(status__in=FINISHED, finished_at__isnull=False),
                name="registry_compilejob_finished",
            ),
            models.CheckConstraint(
                condition=Q(status="running", lease_until__isnull=False, started_at__isnull=False)
                | (~Q(status="running") & Q(lease_until__isnull=True)),
                name="registry_compilejob_leased",
            ),
            models.CheckConstraint(
                condition=Q(status="failed", error_fault__in=Fault.values)
                | (~Q(status="failed") & Q(error_fault="")),
                name="registry_compilejob_fault",
            ),
            # Of equal jobs one is compiled; the others wait for what becomes of it.
            models.UniqueConstraint(
                fields=["org", "digest"],
                condition=Q(status="running"),
                name="registry_compilejob_running_once",
            ),
        ]
        indexes = [
            models.Index(fields=["version", "-id"], name="registry_compilejob_version"),
            models.Index(fields=["org", "-id"], name="registry_compilejob_org"),
            models.Index(
                fields=["org", "digest"],
                condition=Q(status="queued"),
                name="registry_compilejob_twins",
            ),
            models.Index(
                fields=["queued_at"],
                condition=Q(status="queued"),
                name="registry_compilejob_queued",
            ),
            models.Index(
                fields=["lease_until"],
                condition=Q(status="running"),
                name="registry_compilejob_lost",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.language} of {self.version_id}: {self.status}"
