"""/orgs/{org}/modules/{name}/versions, and the files of a version."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from registry import storage
from registry.api.parsers import PushMultiPartParser
from registry.api.serializers import (
    PushSerializer,
    VersionDetailSerializer,
    VersionFileSerializer,
    VersionQuerySerializer,
    VersionSerializer,
)
from registry.files import Push
from registry.models import Version
from registry.services import versions
from registry.services.modules import find_module
from spoke.core.errors import DomainError
from spoke.core.parsers import StrictJSONParser
from spoke.core.schema import IF_MATCH, ProblemSerializer, problem_example

VERSION_PARAMETER = OpenApiParameter(
    "version",
    str,
    OpenApiParameter.PATH,
    description="A version, or `latest`: the newest release, or else the newest pre-release.",
)
VERSION_EXAMPLE: dict[str, Any] = {
    "id": 31,
    "version": "1.2.0",
    "is_prerelease": False,
    "description": "Adds refunds",
    "size_bytes": 1843,
    "created_by_id": 4,
    "created_at": "2026-05-11T16:05:12Z",
}
FILE_EXAMPLE = {
    "path": "acme/payments/v1/refund.proto",
    "size_bytes": 1843,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
VERSION = OpenApiExample("A version", value=VERSION_EXAMPLE, response_only=True)
VERSION_DETAIL = OpenApiExample(
    "A version and its files",
    value={**VERSION_EXAMPLE, "files": [FILE_EXAMPLE]},
    response_only=True,
)
PUSH = OpenApiExample(
    "A push",
    value={
        "version": "1.2.0",
        "description": "Adds refunds",
        "files": [
            {
                "path": "acme/payments/v1/refund.proto",
                "content": 'syntax = "proto3";\npackage acme.payments.v1;\n',
            }
        ],
    },
    request_only=True,
    media_type="application/json",
)
MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["version", "files"],
    "properties": {
        "version": {"type": "string"},
        "description": {"type": "string"},
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One part a file. Its file name is the path, folders included; clients"
            " that cut those off name the part `files[acme/v1/user.proto]` instead.",
        },
    },
}


def etag_of_version(version: Version) -> str:
    """A version never changes, so its id is tag enough."""
    return f'"version-{version.pk}"'


class VersionViewSet(OrgScopedViewSet):
    """The versions of a module."""

    queryset = Version.objects.none()
    parser_classes = [StrictJSONParser, PushMultiPartParser]
    permissions = {
        "list": Permission.MODULES_READ,
        "create": Permission.MODULES_WRITE,
        "retrieve": Permission.MODULES_READ,
        "destroy": Permission.MODULES_WRITE,
    }
    list_ordering = ("-sort_key", "-id")
    push: Push
    refusal: DomainError | None = None

    @property
    def max_body_bytes(self) -> int:
        """The largest body taken, in bytes."""
        limit: int = settings.MAX_PUSH_BYTES
        return limit

    def before_transaction(self, request: Request) -> None:
        """Checks a push and stores its content, before the transaction that publishes it."""
        if self.action != "create":
            return
        serializer = PushSerializer(data=request.data or {}, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        self.push = serializer.push()
        try:
            versions.prepare_push(
                org_id=self.org.pk,
                module_name=self.kwargs["name"],
                push=self.push,
                now=self.now,
            )
        except DomainError as refusal:
            self.refusal = refusal

    @extend_schema(
        summary="List versions",
        description="By semantic precedence, the highest first.",
        tags=["versions"],
        parameters=[VersionQuerySerializer],
        responses=VersionSerializer(many=True),
        examples=[VERSION],
    )
    def list(self, request: Request, org: str, name: str) -> Response:
        query = self.valid(VersionQuerySerializer, request.query_params)
        module = find_module(org_id=self.org.pk, name=name)
        return self.paged(Version.objects.filter(module=module, **query), VersionSerializer)

    @extend_schema(
        summary="Publish a version",
        description="Versions are immutable: one that exists is a 409 `version_exists`, which says"
        " whether the content is identical. Build metadata does not make another version.",
        tags=["versions"],
        request={"application/json": PushSerializer, "multipart/form-data": MULTIPART},
        responses={
            201: VersionDetailSerializer,
            (409, "application/problem+json"): ProblemSerializer,
        },
        examples=[
            PUSH,
            VERSION_DETAIL,
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
        version = versions.publish_version(
            org_id=self.org.pk,
            actor=self.context.actor,
            module_name=name,
            push=self.push,
            now=self.now,
        )
        return self._answer(version, status=201)

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
        description="Frees its quota. `latest` is not taken: name the version.",
        tags=["versions"],
        parameters=[IF_MATCH],
        responses={204: None},
    )
    def destroy(self, request: Request, org: str, name: str, version: str) -> Response:
        found = versions.lock_version(org_id=self.org.pk, module_name=name, version=version)
        self.require_match(request, etag_of_version(found))
        versions.delete_version(version=found, actor=self.context.actor, now=self.now)
        return Response(status=204)

    def _answer(self, version: Version, status: int = 200) -> Response:
        files = VersionFileSerializer(versions.files_of(version=version), many=True).data
        body = {**VersionSerializer(version).data, "files": files}
        return Response(body, status=status, headers={"ETag": etag_of_version(version)})


class AnyAccepted(BaseContentNegotiation):
    """A file is what it is, whatever Accept says; errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class VersionFileViewSet(OrgScopedViewSet):
    """The content of files, byte for byte."""

    content_negotiation_class = AnyAccepted
    permissions = {"retrieve": Permission.MODULES_READ}

    @extend_schema(
        summary="Read a file of a version",
        description="The bytes as they were pushed. The ETag is their SHA-256.",
        tags=["versions"],
        parameters=[
            VERSION_PARAMETER,
            OpenApiParameter("path", str, OpenApiParameter.PATH, description="The file's path."),
        ],
        responses={(200, "text/plain"): OpenApiTypes.STR},
    )
    def retrieve(
        self, request: Request, org: str, name: str, version: str, path: str
    ) -> HttpResponse:
        file = versions.find_file(org_id=self.org.pk, module_name=name, version=version, path=path)
        response = HttpResponse(
            storage.read_content(self.org.pk, file.blob.digest),
            content_type="text/plain; charset=utf-8",
        )
        response.headers["ETag"] = f'"{file.blob.digest}"'
        response.headers["X-Content-Type-Options"] = "nosniff"
        filename = file.path.rsplit("/", 1)[-1]
        disposition = content_disposition_header(as_attachment=False, filename=filename)
        response.headers["Content-Disposition"] = disposition or "inline"
        return response
