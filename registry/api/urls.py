"""The addresses of the registry."""

from django.urls import URLPattern, URLResolver, path

from registry.api.compile import ArtifactViewSet, CompileViewSet
from registry.api.contents import VersionArchiveViewSet, VersionFileViewSet
from registry.api.modules import ModuleViewSet
from registry.api.public import (
    PublicArchiveViewSet,
    PublicFileViewSet,
    PublicModuleViewSet,
    PublicVersionViewSet,
)
from registry.api.versions import VersionViewSet

MODULE = "orgs/<org:org>/modules/<str:name>"
VERSION = f"{MODULE}/versions/<str:version>"
JOB = f"{VERSION}/compile/<id:job_id>"
PUBLIC = "modules/<str:org_slug>/<str:name>"
PUBLIC_VERSION = f"{PUBLIC}/versions/<str:version>"

urlpatterns: list[URLPattern | URLResolver] = [
    path(
        "orgs/<org:org>/modules",
        ModuleViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        MODULE,
        ModuleViewSet.as_view(
            {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
        ),
    ),
    path(
        f"{MODULE}/versions",
        VersionViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        VERSION,
        VersionViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
    ),
    path(f"{VERSION}/yank", VersionViewSet.as_view({"post": "yank"})),
    path(f"{VERSION}/unyank", VersionViewSet.as_view({"post": "unyank"})),
    path(f"{VERSION}/archive", VersionArchiveViewSet.as_view({"get": "retrieve"})),
    path(
        f"{VERSION}/files/<path:path>",
        VersionFileViewSet.as_view({"get": "retrieve"}),
    ),
    path(
        f"{VERSION}/compile",
        CompileViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(JOB, CompileViewSet.as_view({"get": "retrieve"})),
    path(f"{JOB}/cancel", CompileViewSet.as_view({"post": "cancel"})),
    path(f"{JOB}/artifact", ArtifactViewSet.as_view({"get": "retrieve"})),
    path(PUBLIC, PublicModuleViewSet.as_view({"get": "retrieve"})),
    path(f"{PUBLIC}/versions", PublicModuleViewSet.as_view({"get": "list"})),
    path(PUBLIC_VERSION, PublicVersionViewSet.as_view({"get": "retrieve"})),
    path(f"{PUBLIC_VERSION}/archive", PublicArchiveViewSet.as_view({"get": "retrieve"})),
    path(f"{PUBLIC_VERSION}/files/<path:path>", PublicFileViewSet.as_view({"get": "retrieve"})),
]
