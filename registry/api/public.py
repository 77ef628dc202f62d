"""/modules/{org_slug}/{name}: public modules, for everybody who is signed in."""

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import SharedViewSet
from orgs.context import ACCOUNT_HEADER
from orgs.roles import Permission
from registry.api.contents import (
    ARCHIVE_ANSWERS,
    FILE_ANSWERS,
    PATH_PARAMETER,
    AnyAccepted,
    archive_response,
    file_response,
)
from registry.api.examples import FILE_EXAMPLE, VERSION_EXAMPLE, VERSION_PARAMETER
from registry.api.modules import MODULE_EXAMPLE
from registry.api.serializers import (
    ArchiveQuerySerializer,
    VersionFileSerializer,
    VersionQuerySerializer,
)
from registry.api.versions import etag_of_version
from registry.services import public
from registry.services.dependencies import dependencies_of
from registry.services.pulling import TAR_GZ
from registry.services.versions import files_of
from spoke.core.views import etag_of

ACCOUNT = OpenApiParameter(
    ACCOUNT_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The organization, by number or slug, whose limit a person's request counts against;"
    " their oldest one unless said.",
)
OWNER_EXAMPLE = {"name": "googleapis", "display_name": "Google APIs"}


class SharingOrganizationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    display_name = serializers.CharField()


class PublicModuleSerializer(serializers.Serializer[Any]):
    organization = SharingOrganizationSerializer(source="org")
    name = serializers.CharField()
    description = serializers.CharField()
    versions_count = serializers.IntegerField()
    latest_version = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class PublicVersionSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    is_prerelease = serializers.BooleanField()
    description = serializers.CharField()
    size_bytes = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    yanked_at = serializers.DateTimeField(allow_null=True)
    yank_reason = serializers.CharField(allow_blank=True)


class PublicVersionDetailSerializer(PublicVersionSerializer):
    dependencies = serializers.ListField(child=serializers.CharField())
    private_dependencies = serializers.IntegerField(
        help_text="Of how many versions that it needs nobody else can read: with any, it serves its"
        " owner alone."
    )
    files = VersionFileSerializer(many=True)


VERSION_SHOWN = {
    name: value
    for name, value in VERSION_EXAMPLE.items()
    if name in PublicVersionSerializer._declared_fields
}
MODULE = OpenApiExample(
    "A public module",
    value={
        "organization": OWNER_EXAMPLE,
        **{
            name: value
            for name, value in MODULE_EXAMPLE.items()
            if name in PublicModuleSerializer._declared_fields
        },
    },
    response_only=True,
)
VERSION = OpenApiExample("A public version", value=VERSION_SHOWN, response_only=True)
VERSION_DETAIL = OpenApiExample(
    "A public version and its files",
    value={
        **VERSION_SHOWN,
        "dependencies": ["money@2.1.0"],
        "private_dependencies": 0,
        "files": [FILE_EXAMPLE],
    },
    response_only=True,
)


class PublicModuleViewSet(SharedViewSet):
    """Public modules and their versions."""

    permission = Permission.MODULES_READ
    queries = {"list": VersionQuerySerializer}
    list_ordering = ("-sort_key", "-id")

    @extend_schema(
        summary="Read a public module",
        description="Of any organization. What is private is a 404, as what is not there.",
        tags=["public modules"],
        parameters=[ACCOUNT],
        responses=PublicModuleSerializer,
        examples=[MODULE],
    )
    def retrieve(self, request: Request, org_slug: str, name: str) -> Response:
        module = public.find_public_module(org=org_slug, name=name)
        return Response(PublicModuleSerializer(module).data, headers={"ETag": etag_of(module)})

    @extend_schema(
        summary="List a public module's versions",
        description="By semantic precedence, the highest first.",
        tags=["public modules"],
        parameters=[ACCOUNT],
        responses=PublicVersionSerializer(many=True),
        examples=[VERSION],
    )
    def list(self, request: Request, org_slug: str, name: str) -> Response:
        found = public.public_versions(org=org_slug, name=name)
        return self.paged(found.filter(**self.query), PublicVersionSerializer)


class PublicVersionViewSet(SharedViewSet):
    """Versions of public modules, and those that the caller's organization depends on."""

    permission = Permission.MODULES_READ

    @extend_schema(
        summary="Read a version of a public module",
        description="Also one that a version of the caller's organization depends on, if its module has"
        " become private since.",
        tags=["public modules"],
        parameters=[ACCOUNT, VERSION_PARAMETER],
        responses=PublicVersionDetailSerializer,
        examples=[VERSION_DETAIL],
    )
    def retrieve(self, request: Request, org_slug: str, name: str, version: str) -> Response:
        found = public.find_public_version(org=org_slug, name=name, version=version)
        needs = dependencies_of(version=found)
        body = {
            **PublicVersionSerializer(found).data,
            "dependencies": needs.direct,
            "private_dependencies": needs.private,
            "files": VersionFileSerializer(files_of(version=found), many=True).data,
        }
        return Response(body, headers={"ETag": etag_of_version(found)})


class PublicFileViewSet(SharedViewSet):
    """Files of public modules, byte for byte."""

    content_negotiation_class = AnyAccepted
    permission = Permission.MODULES_READ

    @extend_schema(
        summary="Read a file of a public module",
        tags=["public modules"],
        parameters=[ACCOUNT, VERSION_PARAMETER, PATH_PARAMETER],
        responses=FILE_ANSWERS,
    )
    def retrieve(
        self, request: Request, org_slug: str, name: str, version: str, path: str
    ) -> HttpResponseBase:
        return file_response(
            request, public.find_public_file(org=org_slug, name=name, version=version, path=path)
        )


class PublicArchiveViewSet(SharedViewSet):
    """Versions of public modules as archives."""

    content_negotiation_class = AnyAccepted
    queries = {"retrieve": ArchiveQuerySerializer}
    permission = Permission.MODULES_READ

    @extend_schema(
        summary="Read a version of a public module as an archive",
        tags=["public modules"],
        parameters=[ACCOUNT, VERSION_PARAMETER],
        responses=ARCHIVE_ANSWERS,
    )
    def retrieve(
        self, request: Request, org_slug: str, name: str, version: str
    ) -> HttpResponseBase:
        kind = self.query.get("format", TAR_GZ)
        found = public.find_public_version(org=org_slug, name=name, version=version)
        return archive_response(request, found, name, kind)
