"""The addresses of the registry."""

from django.urls import URLPattern, URLResolver, path

from registry.api.modules import ModuleViewSet
from registry.api.versions import VersionFileViewSet, VersionViewSet

MODULE = "orgs/<org:org>/modules/<str:name>"
VERSION = f"{MODULE}/versions/<str:version>"

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
]
