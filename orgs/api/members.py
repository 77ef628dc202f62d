"""The members of an organization."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.api.member_serializers import (
    BulkInput,
    BulkResultSerializer,
    MemberChange,
    MemberInput,
    MemberQuery,
    MemberSerializer,
)
from orgs.models import Membership
from orgs.roles import Permission
from orgs.services import bulk_members
from orgs.services import members as service
from spoke.core.errors import NotFound
from spoke.core.schema import problem_example
from spoke.core.views import etag_of

TAGS = ["Members"]
EXAMPLE = {
    "user_id": 12,
    "email": "grace@example.com",
    "name": "Grace",
    "role": "developer",
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-01T10:00:00Z",
}
LAST_OWNER = problem_example(
    "Last owner",
    status=409,
    code="last_owner",
    detail="An organization always has an owner: make somebody else one first.",
)


class MemberListViewSet(OrgScopedViewSet):
    permissions = {
        "list": Permission.TEAM_READ,
        "create": Permission.TEAM_WRITE,
        "bulk": Permission.TEAM_WRITE,
    }
    serializer_class = MemberSerializer
    queryset = Membership.objects.none()
    queries = {"list": MemberQuery}
    list_ordering = ("user_id",)

    @extend_schema(
        summary="List members",
        tags=TAGS,
        examples=[OpenApiExample("A member", value=EXAMPLE, response_only=True)],
    )
    def list(self, request: Request, org: str) -> Response:
        query = self.query
        rows = Membership.objects.for_org(self.org.pk)
        if "role" in query:
            rows = rows.filter(role=query["role"])
        if "email" in query:
            rows = rows.filter(user__email__icontains=query["email"])
        return self.paged(rows, MemberSerializer)

    @extend_schema(
        summary="Add a member",
        description="Somebody who has signed up already, by `user_id` or `email`; for anybody else"
        " create an invitation.",
        request=MemberInput,
        responses={201: MemberSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "By address",
                value={"email": "grace@example.com", "role": "developer"},
                request_only=True,
            ),
            OpenApiExample("Added", value=EXAMPLE, response_only=True),
            problem_example(
                "Already a member",
                status=409,
                code="already_member",
                detail="This person is already a member.",
            ),
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        data = self.valid(MemberInput, request.data)
        role = data.pop("role")
        membership = service.add_member(
            org=self.org,
            context_role=self.context.role,
            actor=self.context.actor,
            user=service.find_user(**data),
            role=role,
            now=self.now,
        )
        headers = {
            "Location": f"/orgs/{self.org.pk}/members/{membership.user_id}",
            "ETag": etag_of(membership),
        }
        return Response(MemberSerializer(membership).data, status=201, headers=headers)

    @extend_schema(
        summary="Add, change and remove many members",
        description="Up to 500 operations, in their order. `all_or_nothing` (the default) refuses"
        " all with 422 when one fails; `per_row` does what it can and answers row by row.",
        request=BulkInput,
        responses={200: BulkResultSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "Three changes",
                value={
                    "mode": "per_row",
                    "operations": [
                        {"op": "add", "email": "grace@example.com", "role": "developer"},
                        {"op": "change", "user_id": 12, "role": "admin"},
                        {"op": "remove", "user_id": 14},
                    ],
                },
                request_only=True,
            )
        ],
    )
    def bulk(self, request: Request, org: str) -> Response:
        data = self.valid(BulkInput, request.data)
        results = bulk_members.change_members(
            org=self.org,
            context_role=self.context.role,
            actor=self.context.actor,
            operations=data["operations"],
            mode=data["mode"],
            now=self.now,
        )
        rows = [
            {"index": row.index, "status": "ok"}
            if row.error is None
            else {
                "index": row.index,
                "status": "error",
                "code": row.error.error_code,
                "detail": row.error.detail,
            }
            for row in results
        ]
        failed = sum(row["status"] == "error" for row in rows)
        return Response({"succeeded": len(rows) - failed, "failed": failed, "results": rows})


class MemberViewSet(OrgScopedViewSet):
    # Everybody may look at and end their own membership; `_authorise` asks for more for others'.
    permissions = {
        "retrieve": Permission.ORG_READ,
        "update": Permission.TEAM_WRITE,
        "destroy": Permission.ORG_READ,
    }
    serializer_class = MemberSerializer

    def _authorise(self, user_id: int, own: Permission, others: Permission) -> None:
        actor = self.context.actor
        is_own = actor.user is not None and actor.user.pk == user_id
        if is_own and self.context.membership is None:
            raise NotFound("There is no such member.")
        self.context.require(own if is_own else others)

    @extend_schema(
        summary="Read a member",
        tags=TAGS,
        responses={200: MemberSerializer},
        examples=[OpenApiExample("A member", value=EXAMPLE, response_only=True)],
    )
    def retrieve(self, request: Request, org: str, user_id: int) -> Response:
        self._authorise(user_id, Permission.ORG_READ, Permission.TEAM_READ)
        membership = Membership.objects.for_org(self.org.pk).filter(user_id=user_id).first()
        if membership is None:
            raise NotFound("There is no such member.")
        return self._answer(membership)

    @extend_schema(
        summary="Change a member's role",
        description="It acts on their next request. Nobody grants above their own role.",
        tags=TAGS,
        request=MemberChange,
        responses={200: MemberSerializer},
        examples=[
            OpenApiExample("To admin", value={"role": "admin"}, request_only=True),
            LAST_OWNER,
        ],
    )
    def update(self, request: Request, org: str, user_id: int) -> Response:
        role = self.valid(MemberChange, request.data)["role"]
        membership = service.lock_membership(org=self.org, user_id=user_id)
        self.require_match(request, etag_of(membership))
        return self._answer(
            service.change_role(
                org=self.org,
                context_role=self.context.role,
                actor=self.context.actor,
                user_id=user_id,
                role=role,
                now=self.now,
            )
        )

    @extend_schema(
        summary="Remove a member, or leave",
        description="Access ends with their next request.",
        tags=TAGS,
        responses={204: None},
        examples=[LAST_OWNER],
    )
    def destroy(self, request: Request, org: str, user_id: int) -> Response:
        self._authorise(user_id, Permission.ORG_SELF, Permission.TEAM_WRITE)
        membership = service.lock_membership(org=self.org, user_id=user_id)
        self.require_match(request, etag_of(membership))
        service.remove_member(
            org=self.org,
            context_role=self.context.role,
            actor=self.context.actor,
            user_id=user_id,
            now=self.now,
        )
        return Response(status=204)

    @staticmethod
    def _answer(membership: Membership) -> Response:
        return Response(MemberSerializer(membership).data, headers={"ETag": etag_of(membership)})
