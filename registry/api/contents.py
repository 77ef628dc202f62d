"""The content of versions: files byte for byte, and whole versions as archives."""

import io
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from registry import storage
from registry.api.examples import VERSION_PARAMETER
from registry.api.serializers import ArchiveQuerySerializer
from registry.models import Version, VersionFile
from registry.services import versions
from registry.services.pulling import TAR_GZ, write_archive
from spoke.core.tags import answer_to_condition

PATH_PARAMETER = OpenApiParameter(
    "path", str, OpenApiParameter.PATH, description="The file's path."
)
FILE_ANSWERS = {(200, "text/plain"): OpenApiTypes.STR}
ARCHIVE_ANSWERS = {
    (200, "application/gzip"): OpenApiTypes.BINARY,
    (200, "application/zip"): OpenApiTypes.BINARY,
}
MEDIA_TYPES = {TAR_GZ: "application/gzip", "zip": "application/zip"}


class AnyAccepted(BaseContentNegotiation):
    """A file is what it is, whatever Accept says; errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def file_response(request: Request, file: VersionFile) -> HttpResponseBase:
    """The bytes of a file; its entity tag is their SHA-256."""
    etag = f'"{file.blob.digest}"'
    if (known := _known(request, etag)) is not None:
        return known
    response = HttpResponse(
        storage.read_content(file.org_id, file.blob.digest),
        content_type="text/plain; charset=utf-8",
    )
    response.headers["ETag"] = etag
    _as_download(response, file.path.rsplit("/", 1)[-1], attachment=False)
    return response


def archive_response(request: Request, version: Version, name: str, kind: str) -> HttpResponseBase:
    """A version as an archive. Not streamed: a version is bounded, and a failure is still a 503."""
    etag = f'"version-{version.pk}-{kind}"'
    if (known := _known(request, etag)) is not None:
        return known
    out = io.BytesIO()
    write_archive(version=version, kind=kind, out=out)
    response = HttpResponse(out.getvalue(), content_type=MEDIA_TYPES[kind])
    response.headers["ETag"] = etag
    _as_download(response, f"{name}-{version.version}.{kind}", attachment=True)
    return response


def _known(request: Request, etag: str) -> HttpResponseBase | None:
    """A 304 for whoever has it already, before anything is read; None for the others."""
    response: HttpResponseBase | None = answer_to_condition(request._request, etag)
    if response is not None:
        response.headers["ETag"] = etag
    return response


def _as_download(response: HttpResponse, filename: str, *, attachment: bool) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"
    disposition = content_disposition_header(as_attachment=attachment, filename=filename)
    response.headers["Content-Disposition"] = disposition or "inline"


class VersionFileViewSet(OrgScopedViewSet):
    """The content of files, byte for byte."""

    content_negotiation_class = AnyAccepted
    permissions = {"retrieve": Permission.MODULES_READ}

    @extend_schema(
        summary="Read a file of a version",
        description="The bytes as they were pushed. The ETag is their SHA-256.",
        tags=["versions"],
        parameters=[VERSION_PARAMETER, PATH_PARAMETER],
        responses=FILE_ANSWERS,
    )
    def retrieve(
        self, request: Request, org: str, name: str, version: str, path: str
    ) -> HttpResponseBase:
        return file_response(
            request,
            versions.find_file(org_id=self.org.pk, module_name=name, version=version, path=path),
        )


class VersionArchiveViewSet(OrgScopedViewSet):
    """Versions as archives."""

    content_negotiation_class = AnyAccepted
    queries = {"retrieve": ArchiveQuerySerializer}
    permissions = {"retrieve": Permission.MODULES_READ}

    @extend_schema(
        summary="Read a version as an archive",
        description="A tar.gz, or what `format` says. The same version gives the same bytes.",
        tags=["versions"],
        parameters=[VERSION_PARAMETER],
        responses=ARCHIVE_ANSWERS,
    )
    def retrieve(self, request: Request, org: str, name: str, version: str) -> HttpResponseBase:
        kind = self.query.get("format", TAR_GZ)
        found = versions.find_version(org_id=self.org.pk, module_name=name, version=version)
        return archive_response(request, found, name, kind)
