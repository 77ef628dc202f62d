"""Looking into organizations' registries. Read-only: content is changed through the API alone."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry.models import (
    Blob,
    CompileArtifact,
    CompileJob,
    Module,
    RetiredVersion,
    Version,
    VersionDependency,
    VersionFile,
)
from spoke.core.admin import ModelAdmin, ReadOnly, TabularInline, size


@admin.register(Module)
class ModuleAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = (
        "name",
        "org",
        "is_public",
        "breaking_policy",
        "versions_count",
        "latest_version",
        "updated_at",
    )
    list_filter = ("is_public", "created_at")
    search_fields = ("name", "description", "org__name")
    list_select_related = ("org",)
    ordering = ("org__name", "name")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Module]:
        modules: Any = super().get_queryset(request)
        summarised: QuerySet[Module] = modules.with_summary()
        return summarised

    @admin.display(description="versions")
    def versions_count(self, module: Any) -> int:
        return int(module.versions_count)

    @admin.display(description="latest")
    def latest_version(self, module: Any) -> str | None:
        latest: str | None = module.latest_version
        return latest


class VersionFileInline(TabularInline):
    model = VersionFile
    fields = ("path", "size", "digest")

    def get_queryset(self, request: HttpRequest) -> QuerySet[VersionFile]:
        files: QuerySet[VersionFile] = super().get_queryset(request)
        return files.select_related("blob").order_by("path")

    @admin.display(description="size")
    def size(self, file: VersionFile) -> str:
        return size(file.blob.size_bytes)

    @admin.display(description="SHA-256")
    def digest(self, file: VersionFile) -> str:
        return file.blob.digest


class VersionDependencyInline(TabularInline):
    model = VersionDependency
    verbose_name_plural = "dependencies"
    fk_name = "version"
    fields = ("reference", "is_direct")


@admin.register(RetiredVersion)
class RetiredVersionAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("module", "version", "org", "content", "deleted_at")
    search_fields = ("module", "org__name")
    list_select_related = ("org",)
    ordering = ("-deleted_at", "-id")
    show_full_result_count = False


@admin.register(Version)
class VersionAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = (
        "version",
        "module",
        "org",
        "is_prerelease",
        "size_bytes",
        "yanked_at",
        "created_at",
    )
    list_filter = ("is_prerelease", ("yanked_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("version", "module__name", "org__name")
    list_select_related = ("module", "org")
    ordering = ("-id",)
    show_full_result_count = False
    inlines = (VersionDependencyInline, VersionFileInline)


class HeldFilter(admin.SimpleListFilter):
    """Whether a version holds the content, so that it is counted as storage."""

    title = "held"
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "by a version"), ("no", "by none")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "yes":
            return queryset.counted()
        return queryset.abandoned() if self.value() == "no" else queryset


@admin.register(Blob)
class BlobAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("digest", "org", "size_bytes", "references", "staged_at", "created_at")
    list_filter = (HeldFilter, "created_at")
    search_fields = ("=digest", "org__name")
    list_select_related = ("org",)
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(CompileJob)
class CompileJobAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = (
        "id",
        "version",
        "module",
        "org",
        "language",
        "status",
        "error_code",
        "counted",
        "attempts",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "error_fault", "error_code", "language", "cached", "created_at")
    search_fields = ("=id", "version__module__name", "org__name")
    list_select_related = ("org", "version__module")
    ordering = ("-id",)
    show_full_result_count = False

    @admin.display(description="module")
    def module(self, job: CompileJob) -> str:
        return job.version.module.name


@admin.register(CompileArtifact)
class CompileArtifactAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("sha256", "org", "size_bytes", "files", "created_at", "last_used_at")
    list_filter = ("created_at", "last_used_at")
    search_fields = ("=sha256", "=digest", "org__name")
    list_select_related = ("org",)
    ordering = ("-id",)
    show_full_result_count = False
