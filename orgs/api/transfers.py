"""Handing an organization over."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.api.member_serializers import TransferSerializer, WhoInput
from orgs.models import OwnershipTransfer
from orgs.roles import Permission
from orgs.services import transfers as service
from orgs.services.members import find_user
from spoke.core.errors import Forbidden

TAGS = ["Ownership"]
EXAMPLE = {
    "id": 4,
    "status": "pending",
    "from_user_id": 3,
    "from_email": "ada@example.com",
    "to_user_id": 12,
    "to_email": "grace@example.com",
    "created_at": "2026-03-01T10:00:00Z",
    "expires_at": "2026-03-08T10:00:00Z",
}


class TransferViewSet(OrgScopedViewSet):
    # The recipient has any role: they may look, accept and decline; the service knows them.
    permissions = {
        "retrieve": Permission.ORG_READ,
        "create": Permission.ORG_TRANSFER,
        "destroy": Permission.ORG_SELF,
        "accept": Permission.ORG_SELF,
    }
    without_body = frozenset({"accept"})
    serializer_class = TransferSerializer

    def _person(self) -> int | None:
        user = self.context.actor.user
        return None if user is None else user.pk

    @extend_schema(
        summary="Read the pending transfer",
        description="For the team's admins and the recipient.",
        tags=TAGS,
        responses={200: TransferSerializer},
        examples=[OpenApiExample("Pending", value=EXAMPLE, response_only=True)],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        if self.context.can(Permission.TEAM_READ):
            return self._answer(service.pending_transfer(org=self.org))
        transfer = OwnershipTransfer.objects.filter(
            org=self.org, status="pending", to_user_id=self._person()
        ).first()
        if transfer is None:
            self.context.require(Permission.TEAM_READ)
            raise Forbidden("Only the team's admins and the recipient see a transfer.")
        return self._answer(transfer)

    @extend_schema(
        summary="Offer ownership to a member",
        description=(
            "They confirm within seven days; then they own it, and the owner before them is an admin."
        ),
        tags=TAGS,
        request=WhoInput,
        responses={201: TransferSerializer},
        examples=[
            OpenApiExample("To Grace", value={"email": "grace@example.com"}, request_only=True),
            OpenApiExample("Offered", value=EXAMPLE, response_only=True),
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        data = self.valid(WhoInput, request.data)
        transfer = service.offer_ownership(
            org=self.org, actor=self.context.actor, to_user=find_user(**data), now=self.now
        )
        return Response(TransferSerializer(transfer).data, status=201)

    @extend_schema(
        summary="Accept ownership",
        description="As the member it was offered to.",
        tags=TAGS,
        request=None,
        responses={200: TransferSerializer},
    )
    def accept(self, request: Request, org: str) -> Response:
        user = self.context.actor.user
        if user is None:
            raise Forbidden("Only a person can own an organization.", code="person_required")
        transfer = service.accept_ownership(
            org=self.org, actor=self.context.actor, user=user, now=self.now
        )
        return self._answer(transfer)

    @extend_schema(
        summary="Cancel or decline the transfer",
        description="Owners cancel it, the recipient declines it.",
        tags=TAGS,
        responses={204: None},
    )
    def destroy(self, request: Request, org: str) -> Response:
        service.cancel_transfer(
            org=self.org,
            actor=self.context.actor,
            user_id=self._person(),
            may_cancel=self.context.can(Permission.ORG_TRANSFER),
            now=self.now,
        )
        return Response(status=204)

    @staticmethod
    def _answer(transfer: OwnershipTransfer) -> Response:
        return Response(TransferSerializer(transfer).data)
