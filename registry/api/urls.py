"""The addresses of the registry."""

from django.urls import URLPattern, URLResolver, path

from registry.api.compile import ArtifactViewSet, CompileViewSet
from registry.api.modules import ModuleViewSet
from registry.api.versions import VersionFileViewSet, VersionViewSet

MODULE = "orgs/<org:org>/modules/<str:name>"
VERSION = f"{MODULE}/versions/<str:version>"
JOB = f"{VERSION}/compile/<id:job_id>"

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
]
