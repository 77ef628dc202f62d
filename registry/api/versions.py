"""/orgs/{org}/modules/{name}/versions."""

import hashlib
from dataclasses import asdict
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from registry.api.examples import (
    ARCHIVE_BODY,
    CHECKED,
    MULTIPART,
    PUBLISHED,
    PUSH,
    VERSION,
    VERSION_DETAIL,
    VERSION_PARAMETER,
)
from registry.api.parsers import ARCHIVE, GzipParser, PushMultiPartParser, ZipParser
from registry.api.serializers import (
    ArchivePushQuerySerializer,
    CheckedVersionSerializer,
    PublishedVersionSerializer,
    PushQuerySerializer,
    PushSerializer,
    VersionDetailSerializer,
    VersionFileSerializer,
    VersionQuerySerializer,
    VersionSerializer,
    YankSerializer,
)
from registry.models import Version
from registry.services import pushing, versions
from registry.services.dependencies import dependencies_of
from registry.services.modules import find_module
from registry.services.versions import CheckedPush
from spoke.core.errors import DomainError, InvalidInput
from spoke.core.parsers import StrictJSONParser
from spoke.core.schema import IF_MATCH, ProblemSerializer, problem_example
from spoke.core.serializers import StrictQuerySerializer

ARCHIVE_TYPES = (GzipParser.media_type, ZipParser.media_type)


def etag_of_version(version: Version) -> str:
    """Its files never change; whether it is yanked does, and why."""
    if version.yanked_at is None:
        return f'"version-{version.pk}"'
    why = hashlib.sha256(version.yank_reason.encode()).hexdigest()[:16]
    return f'"version-{version.pk}-{version.yanked_at.timestamp():.6f}-{why}"'


def described(version: Version) -> dict[str, Any]:
    """A version as it is read alone: with dependencies and files."""
    files = VersionFileSerializer(versions.files_of(version=version), many=True).data
    return {
        **VersionSerializer(version).data,
        "dependencies": dependencies_of(version=version).direct,
        "files": files,
    }


def is_archive(request: Request) -> bool:
    """Whether the body is an archive by itself."""
    return (request.content_type or "").partition(";")[0].strip().lower() in ARCHIVE_TYPES


class VersionViewSet(OrgScopedViewSet):
    """The versions of a module."""

    queryset = Version.objects.none()
    parser_classes = [StrictJSONParser, PushMultiPartParser, GzipParser, ZipParser]
    permissions = {
        "list": Permission.MODULES_READ,
        "create": Permission.MODULES_WRITE,
        "retrieve": Permission.MODULES_READ,
        "destroy": Permission.MODULES_WRITE,
        "yank": Permission.MODULES_WRITE,
        "unyank": Permission.MODULES_WRITE,
    }
    without_body = frozenset({"unyank"})
    queries = {"list": VersionQuerySerializer, "create": ArchivePushQuerySerializer}
    list_ordering = ("-sort_key", "-id")
    checked: CheckedPush
    dry_run: bool = False
    refusal: DomainError | None = None

    @property
    def max_body_bytes(self) -> int:
        """The largest body taken, in bytes."""
        limit: int = settings.MAX_PUSH_BYTES
        return limit

    def query_kind(self, request: Request) -> type[StrictQuerySerializer]:
        """A push that is no archive says in its body what an archive's says in the query."""
        if self.action == "create" and not is_archive(request):
            return PushQuerySerializer
        return super().query_kind(request)

    def before_transaction(self, request: Request) -> None:
        """Checks a push and stores its content, before the transaction that publishes it."""
        if self.action != "create":
            return
        if is_archive(request) and not request.data:
            raise InvalidInput("The body is empty.", field=ARCHIVE, code="invalid_archive")
        self.dry_run = self.query.get("dry_run", False)
        serializer = PushSerializer(data=request.data or {}, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        prepare = pushing.check_push if self.dry_run else pushing.prepare_push
        try:
            self.checked = prepare(
                org_id=self.org.pk,
                module_name=self.kwargs["name"],
                push=serializer.push(),
                now=self.now,
            )
        except DomainError as refusal:
            self.refusal = refusal

    @extend_schema(
        summary="List versions",
        description="By semantic precedence, the highest first.",
        tags=["versions"],
        responses=VersionSerializer(many=True),
        examples=[VERSION],
    )
    def list(self, request: Request, org: str, name: str) -> Response:
        module = find_module(org_id=self.org.pk, name=name)
        return self.paged(Version.objects.filter(module=module, **self.query), VersionSerializer)

    @extend_schema(
        summary="Publish a version",
        description="As JSON, as multipart, or as an archive (tar.gz, zip) with the other fields in the"
        " query. The files must compile: a 400 `invalid_proto` names file, line and column. Versions are"
        " immutable: one that exists is a 409 `version_exists`, which says whether the content is"
        " identical; build metadata does not make another version. A module may refuse what breaks the"
        " release before: 409 `breaking_change`.",
        tags=["versions"],
        request={
            "application/json": PushSerializer,
            "multipart/form-data": MULTIPART,
            GzipParser.media_type: ARCHIVE_BODY,
            ZipParser.media_type: ARCHIVE_BODY,
        },
        responses={
            200: CheckedVersionSerializer,
            201: PublishedVersionSerializer,
            409: ProblemSerializer,
        },
        examples=[
            PUSH,
            CHECKED,
            PUBLISHED,
            problem_example(
                "Conflict",
                status=409,
                code="version_exists",
                detail="Version 1.2.0 of payments exists already, with the same content.",
                version="1.2.0",
                identical=True,
            ),
        ],
    )
    def create(self, request: Request, org: str, name: str) -> Response:
        if self.refusal is not None:
            raise self.refusal
        if self.dry_run:
            return Response(self._found())
        version = versions.publish_version(
            org_id=self.org.pk,
            actor=self.context.actor,
            module_name=name,
            checked=self.checked,
            now=self.now,
        )
        body = {**described(version), **self._comparison()}
        headers = {
            "ETag": etag_of_version(version),
            "Location": f"/orgs/{self.org.pk}/modules/{name}/versions/{version.version}",
        }
        return Response(body, status=201, headers=headers)

    def _comparison(self) -> dict[str, Any]:
        comparison = self.checked.comparison
        baseline = comparison.baseline
        return {
            "compared_with": baseline.version if baseline else None,
            "breaking_changes": [asdict(change) for change in comparison.shown],
        }

    def _found(self) -> dict[str, Any]:
        push = self.checked.push
        return {
            "dry_run": True,
            "version": push.version,
            "size_bytes": push.size_bytes,
            "dependencies": sorted(str(reference) for reference in push.dependencies),
            "files": [
                {"path": file.path, "size_bytes": len(file.content), "sha256": file.digest}
                for file in sorted(push.files, key=lambda file: file.path)
            ],
            **self._comparison(),
        }

    @extend_schema(
        summary="Read a version",
        tags=["versions"],
        parameters=[VERSION_PARAMETER],
        responses=VersionDetailSerializer,
        examples=[VERSION_DETAIL],
    )
    def retrieve(self, request: Request, org: str, name: str, version: str) -> Response:
        return self._answer(
            versions.find_version(org_id=self.org.pk, module_name=name, version=version)
        )

    @extend_schema(
        summary="Delete a version",
        description="Frees its quota. `latest` is not taken: name the version. 409 `version_in_use`"
        " where another version depends on it: yank it instead.",
        tags=["versions"],
        parameters=[IF_MATCH],
        responses={204: None},
    )
    def destroy(self, request: Request, org: str, name: str, version: str) -> Response:
        found = versions.lock_version(org_id=self.org.pk, module_name=name, version=version)
        self.require_match(request, etag_of_version(found))
        versions.delete_version(version=found, actor=self.context.actor, now=self.now)
        return Response(status=204)

    @extend_schema(
        summary="Yank a version",
        description="It stays readable by its name and for what depends on it, is never `latest`, and"
        " nothing new can depend on it.",
        tags=["versions"],
        request=YankSerializer,
        responses=VersionDetailSerializer,
        examples=[VERSION_DETAIL],
    )
    def yank(self, request: Request, org: str, name: str, version: str) -> Response:
        reason = self.valid(YankSerializer, request.data).get("reason", "")
        found = versions.lock_version(org_id=self.org.pk, module_name=name, version=version)
        return self._answer(
            versions.yank_version(
                version=found, actor=self.context.actor, reason=reason, now=self.now
            )
        )

    @extend_schema(
        summary="Take a yank back",
        tags=["versions"],
        request=None,
        responses=VersionDetailSerializer,
        examples=[VERSION_DETAIL],
    )
    def unyank(self, request: Request, org: str, name: str, version: str) -> Response:
        found = versions.lock_version(org_id=self.org.pk, module_name=name, version=version)
        return self._answer(
            versions.unyank_version(version=found, actor=self.context.actor, now=self.now)
        )

    def _answer(self, version: Version) -> Response:
        return Response(described(version), headers={"ETag": etag_of_version(version)})
