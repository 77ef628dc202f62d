"""/orgs/{org}/modules."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from registry.api.serializers import (
    ModuleChangeSerializer,
    ModuleQuerySerializer,
    ModuleSerializer,
    NewModuleSerializer,
)
from registry.models import BreakingPolicy, Module
from registry.services import modules
from spoke.core.errors import InvalidInput
from spoke.core.schema import IF_MATCH, ProblemSerializer, problem_example
from spoke.core.views import etag_of

MODULE_EXAMPLE: dict[str, Any] = {
    "id": 12,
    "name": "payments",
    "description": "Messages of the payment service",
    "is_public": False,
    "breaking_policy": "warn",
    "versions_count": 3,
    "latest_version": "1.2.0",
    "created_at": "2026-03-02T09:30:00Z",
    "updated_at": "2026-05-11T16:05:12Z",
}
NEW_MODULE = OpenApiExample(
    "A module",
    value={key: MODULE_EXAMPLE[key] for key in ("name", "description", "is_public")},
    request_only=True,
)
MODULE = OpenApiExample("A module", value=MODULE_EXAMPLE, response_only=True)


class ModuleViewSet(OrgScopedViewSet):
    """The modules of an organization."""

    queryset = Module.objects.none()
    permissions = {
        "list": Permission.MODULES_READ,
        "create": Permission.MODULES_WRITE,
        "retrieve": Permission.MODULES_READ,
        "update": Permission.MODULES_WRITE,
        "destroy": Permission.MODULES_WRITE,
    }
    queries = {"list": ModuleQuerySerializer}
    list_ordering = ("name", "id")

    @extend_schema(
        summary="List modules",
        description="By name.",
        tags=["modules"],
        responses=ModuleSerializer(many=True),
        examples=[MODULE],
    )
    def list(self, request: Request, org: str) -> Response:
        found = Module.objects.for_org(self.org.pk).matching(**self.query).with_summary()
        return self.paged(found, ModuleSerializer)

    @extend_schema(
        summary="Create a module",
        description="403 `quota_exceeded` at the plan's limit; 409 `module_exists`.",
        tags=["modules"],
        request=NewModuleSerializer,
        responses={201: ModuleSerializer, 403: ProblemSerializer},
        examples=[
            NEW_MODULE,
            MODULE,
            problem_example(
                "Quota exceeded",
                status=403,
                code="quota_exceeded",
                detail="The limit is 5 modules; 5 are in use.",
                error="quota_exceeded",
                resource="modules",
                current=5,
                limit=5,
                upgrade_url="https://spoke.example/orgs/7/subscription",
            ),
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        data = self.valid(NewModuleSerializer, request.data)
        module = modules.create_module(
            org_id=self.org.pk,
            actor=self.context.actor,
            name=data["name"],
            description=data.get("description", ""),
            is_public=data.get("is_public", False),
            breaking_policy=data.get("breaking_policy", BreakingPolicy.WARN),
            now=self.now,
        )
        made = self._answer(module.name, status=201)
        made.headers["Location"] = f"/orgs/{self.org.pk}/modules/{module.name}"
        return made

    @extend_schema(
        summary="Read a module", tags=["modules"], responses=ModuleSerializer, examples=[MODULE]
    )
    def retrieve(self, request: Request, org: str, name: str) -> Response:
        return self._answer(name)

    @extend_schema(
        summary="Change a module",
        description="Changes the fields sent and leaves the others. The name never changes.",
        tags=["modules"],
        request=ModuleChangeSerializer,
        responses=ModuleSerializer,
        examples=[
            OpenApiExample("Make it public", value={"is_public": True}, request_only=True),
            MODULE,
        ],
    )
    def update(self, request: Request, org: str, name: str) -> Response:
        changes = self.valid(ModuleChangeSerializer, request.data)
        module = modules.lock_module(org_id=self.org.pk, name=name)
        self.require_match(request, etag_of(module))
        if changes.pop("name", module.name) != module.name:
            raise InvalidInput("A module keeps its name.", field="name", code="immutable")
        modules.update_module(module=module, actor=self.context.actor, now=self.now, **changes)
        return self._answer(name)

    @extend_schema(
        summary="Delete a module",
        description="With all its versions. Frees their quota. 409 `version_in_use` where a version of"
        " another module depends on one of them.",
        tags=["modules"],
        parameters=[IF_MATCH],
        responses={204: None},
    )
    def destroy(self, request: Request, org: str, name: str) -> Response:
        module = modules.lock_module(org_id=self.org.pk, name=name)
        self.require_match(request, etag_of(module))
        modules.delete_module(module=module, actor=self.context.actor, now=self.now)
        return Response(status=204)

    def _answer(self, name: str, status: int = 200) -> Response:
        module = modules.find_module(org_id=self.org.pk, name=name)
        return Response(
            ModuleSerializer(module).data, status=status, headers={"ETag": etag_of(module)}
        )
