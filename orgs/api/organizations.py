"""Organizations: a person's own, and one of them."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet, PersonViewSet
from orgs.api.organization_serializers import (
    OrganizationChange,
    OrganizationInput,
    OrganizationQuery,
    OrganizationSerializer,
)
from orgs.models import Membership, Organization, OrganizationStatus
from orgs.roles import Permission, Role, Scope
from orgs.services import organizations as service
from spoke.core.schema import problem_example
from spoke.core.serializers import represent
from spoke.core.views import etag_of

TAGS = ["Organizations"]
EXAMPLE = {
    "id": 7,
    "name": "acme",
    "display_name": "Acme Robotics",
    "description": "Schemas of the robots",
    "plan_tier": "free",
    "pending_plan_tier": "pro",
    "next_step": {
        "detail": "The organization is on the free plan's limits until its pro subscription is"
        " completed.",
        "method": "POST",
        "url": "/orgs/7/subscription",
    },
    "status": "active",
    "status_reason": "",
    "settings": {},
    "owner": {"user_id": 3, "email": "ada@example.com", "name": "Ada"},
    "role": "owner",
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-01T10:00:00Z",
    "closed_at": None,
    "purge_after": None,
}


class OrganizationListViewSet(PersonViewSet):
    scopes = {"list": Scope.READ, "create": Scope.WRITE}
    serializer_class = OrganizationSerializer
    queryset = Organization.objects.none()
    queries = {"list": OrganizationQuery}
    list_ordering = ("-id",)

    @extend_schema(
        summary="List your organizations",
        description="Newest first. Closed ones are shown to their owners only.",
        tags=TAGS,
        examples=[OpenApiExample("An organization", value=EXAMPLE, response_only=True)],
    )
    def list(self, request: Request) -> Response:
        query = self.query
        mine = Membership.objects.filter(user=self.user)
        roles = dict(mine.values_list("org_id", "role"))
        owned = [org_id for org_id, role in roles.items() if role == Role.OWNER]
        wanted = [
            org_id for org_id, role in roles.items() if query.get("role") in (None, Role(role))
        ]
        rows = Organization.objects.filter(pk__in=wanted).select_related("owner")
        rows = rows.exclude(status=OrganizationStatus.CLOSED) | rows.filter(pk__in=owned)
        if "status" in query:
            rows = rows.filter(status=query["status"])
        return self.paged(rows, OrganizationSerializer, roles=roles)

    @extend_schema(
        summary="Create an organization",
        description="You become its owner. It starts on the free plan's limits; with a paid"
        " `plan_tier` the answer names the next step.",
        request=OrganizationInput,
        responses={201: OrganizationSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "For a team that will pay",
                value={
                    "name": "acme",
                    "display_name": "Acme Robotics",
                    "description": "Schemas of the robots",
                    "plan_tier": "pro",
                },
                request_only=True,
            ),
            OpenApiExample("Created", value=EXAMPLE, response_only=True),
            problem_example(
                "Name taken",
                status=409,
                code="name_taken",
                detail="Another organization has this name.",
            ),
        ],
    )
    def create(self, request: Request) -> Response:
        data = self.valid(OrganizationInput, request.data)
        org = service.create_organization(user=self.user, now=self.now, **data)
        context = {**self.get_serializer_context(), "roles": {org.pk: Role.OWNER.value}}
        return Response(
            OrganizationSerializer(org, context=context).data,
            status=201,
            headers={"Location": f"/orgs/{org.pk}", "ETag": etag_of(org)},
        )


class OrganizationViewSet(OrgScopedViewSet):
    permissions = {
        "retrieve": Permission.ORG_READ,
        "update": Permission.ORG_UPDATE,
        "destroy": Permission.ORG_CLOSE,
        "reopen": Permission.ORG_CLOSE,
    }
    without_body = frozenset({"reopen"})
    serializer_class = OrganizationSerializer

    @extend_schema(
        summary="Read an organization",
        tags=TAGS,
        responses={200: OrganizationSerializer},
        examples=[OpenApiExample("An organization", value=EXAMPLE, response_only=True)],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        # The row is read anew: what resolved the request's context had no view of the owner.
        return self._answer(Organization.objects.select_related("owner").get(pk=self.org.pk))

    @extend_schema(
        summary="Change an organization",
        description="Changes the fields that are sent; `name` never changes.",
        tags=TAGS,
        request=OrganizationChange,
        responses={200: OrganizationSerializer},
        examples=[
            OpenApiExample(
                "A new description", value={"description": "All schemas"}, request_only=True
            )
        ],
    )
    def update(self, request: Request, org: str) -> Response:
        changes = self.valid(OrganizationChange, request.data)
        changes.pop("name", None)
        row = self._locked(request)
        return self._answer(
            service.update_organization(
                org=row, actor=self.context.actor, changes=changes, now=self.now
            )
        )

    @extend_schema(
        summary="Close an organization",
        description="Everything in it stops at once; for 30 days it can be reopened, then all of"
        " it is deleted. Closing again changes nothing.",
        tags=TAGS,
        responses={200: OrganizationSerializer},
    )
    def destroy(self, request: Request, org: str) -> Response:
        row = self._locked(request)
        return self._answer(
            service.close_organization(org=row, actor=self.context.actor, now=self.now)
        )

    @extend_schema(
        summary="Reopen a closed organization",
        description="Within its 30 days. Invitations and service tokens that closing ended stay"
        " ended.",
        tags=TAGS,
        request=None,
        responses={200: OrganizationSerializer},
    )
    def reopen(self, request: Request, org: str) -> Response:
        return self._answer(
            service.reopen_organization(org=self.org, actor=self.context.actor, now=self.now)
        )

    def _locked(self, request: Request) -> Organization:
        row = service.lock_organization(self.org.pk)
        self.require_match(request, etag_of(row))
        return row

    def _answer(self, org: Organization) -> Response:
        context = {**self.get_serializer_context(), "roles": {org.pk: self.context.role.value}}
        body = represent(OrganizationSerializer, org, context)
        return Response(body, headers={"ETag": etag_of(org)})
