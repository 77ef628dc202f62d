"""Invitations: of an organization, and as seen by the person who holds the token."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet, PersonViewSet
from orgs.api.invitation_serializers import (
    AcceptedSerializer,
    InvitationInput,
    InvitationQuery,
    InvitationSerializer,
    NewInvitationSerializer,
    OfferSerializer,
)
from orgs.models import Invitation, InvitationStatus
from orgs.roles import Permission, Scope
from orgs.services import invitations as service
from orgs.services.members import AlreadyMember
from orgs.services.tokens import digest_of
from orgs.tasks import send_invitation_email
from spoke.core import tenancy
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.schema import problem_example
from spoke.core.sealing import seal
from spoke.core.views import SpokeViewSet, etag_of

TAGS = ["Invitations"]
TOKEN = "rPpk0bXcVt1sXWQW0kqWJ1o3s8m1cJm3bWvD4uQ2h1M"  # noqa: S105 - an example
ORGANIZATION = {"id": 7, "name": "acme", "display_name": "Acme Inc."}
EXAMPLE = {
    "id": 12,
    "email": "lin@example.com",
    "role": "developer",
    "status": "pending",
    "invited_by": {"id": 3, "email": "ada@example.com", "name": "Ada"},
    "accepted_by": None,
    "created_at": "2026-03-01T10:00:00Z",
    "expires_at": "2026-03-08T10:00:00Z",
    "ended_at": None,
}
CREATED = OpenApiExample(
    "Invited",
    value={
        **EXAMPLE,
        "token": TOKEN,
        "accept_url": f"https://spoke.example/accounts/invitations/{TOKEN}",
    },
    response_only=True,
)
GONE = problem_example(
    "Gone", status=410, code="invitation_expired", detail=service.ENDED[InvitationStatus.EXPIRED]
)


class InvitationViewSet(OrgScopedViewSet):
    permissions = {
        "list": Permission.TEAM_READ,
        "create": Permission.TEAM_WRITE,
        "destroy": Permission.TEAM_WRITE,
        "resend": Permission.TEAM_WRITE,
    }
    queries = {"list": InvitationQuery}
    without_body = frozenset({"resend"})
    serializer_class = InvitationSerializer
    queryset = Invitation.objects.none()

    @extend_schema(
        summary="List invitations",
        description="Newest first.",
        tags=TAGS,
        examples=[OpenApiExample("An invitation", value=EXAMPLE, response_only=True)],
    )
    def list(self, request: Request, org: str) -> Response:
        query = self.query
        rows = Invitation.objects.for_org(self.org.pk).select_related("accepted_by")
        if "status" in query:
            rows = rows.in_status(query["status"], self.now)
        if "email" in query:
            rows = rows.filter(email=query["email"])
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        summary="Invite an address",
        description="Sends an e-mail with a personal link that is good for seven days and once.",
        request=InvitationInput,
        responses={201: NewInvitationSerializer},
        tags=TAGS,
        examples=[
            OpenApiExample(
                "A developer",
                value={"email": "lin@example.com", "role": "developer"},
                request_only=True,
            ),
            CREATED,
            problem_example(
                "Pending",
                status=409,
                code="invitation_pending",
                detail="An invitation for lin@example.com is pending.",
                invitation_id=12,
            ),
        ],
    )
    def create(self, request: Request, org: str) -> Response:
        data = self.valid(InvitationInput, request.data)
        created = service.create_invitation(context=self.context, now=self.now, **data)
        return self._shown_once(*created, status=201)

    @extend_schema(
        summary="Revoke an invitation",
        description="Its link stops working. Revoking again changes nothing.",
        responses={204: None},
        tags=TAGS,
    )
    def destroy(self, request: Request, org: str, invitation_id: int) -> Response:
        invitation = service.get_locked_invitation(org_id=self.org.pk, invitation_id=invitation_id)
        self.require_match(request, etag_of(invitation))
        service.revoke_invitation(invitation=invitation, actor=self.context.actor, now=self.now)
        return Response(status=204)

    @extend_schema(
        summary="Send an invitation again",
        description="With a new link, good for seven days; the former one stops working.",
        request=None,
        responses={200: NewInvitationSerializer},
        tags=TAGS,
        examples=[CREATED],
    )
    def resend(self, request: Request, org: str, invitation_id: int) -> Response:
        renewed = service.resend_invitation(
            context=self.context, invitation_id=invitation_id, now=self.now
        )
        return self._shown_once(*renewed, status=200)

    def _shown_once(self, invitation: Invitation, token: str, *, status: int) -> Response:
        """Has the token sent, and shows it in this answer and no other."""
        enqueue_on_commit(send_invitation_email, self.org.pk, invitation.pk, seal(token))
        context = {
            **self.get_serializer_context(),
            "token": token,
            "accept_url": service.accept_url(token),
        }
        body = NewInvitationSerializer(invitation, context=context).data
        return Response(body, status=status, headers={"Cache-Control": "no-store"})


class OfferViewSet(SpokeViewSet):
    """Public: the token is the credential. The rate is limited by address."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()
    serializer_class = OfferSerializer

    def scope(self) -> tenancy.Scope:
        return tenancy.Scope(secret=digest_of(self.kwargs["token"]))

    @extend_schema(
        summary="See an invitation",
        description="Whoever holds the token may see what it invites to; no sign-in is needed.",
        responses=OfferSerializer,
        tags=TAGS,
        auth=[],
        examples=[
            OpenApiExample(
                "An invitation",
                value={
                    "organization": ORGANIZATION,
                    "role": "developer",
                    "email": "lin@example.com",
                    "invited_by": {"email": "ada@example.com", "name": "Ada"},
                    "created_at": "2026-03-01T10:00:00Z",
                    "expires_at": "2026-03-08T10:00:00Z",
                },
                response_only=True,
            ),
            GONE,
        ],
    )
    def retrieve(self, request: Request, token: str) -> Response:
        offer = service.find_offer(token=token, now=self.now)
        return Response(OfferSerializer(offer).data, headers={"Cache-Control": "no-store"})


class AcceptanceViewSet(PersonViewSet):
    scopes = {"accept": Scope.WRITE}
    without_body = frozenset({"accept"})

    @extend_schema(
        summary="Accept an invitation",
        description="As the signed-in person, whose verified address must be the invited one.",
        request=None,
        responses=AcceptedSerializer,
        tags=TAGS,
        examples=[
            OpenApiExample(
                "Joined",
                value={
                    "organization": ORGANIZATION,
                    "user_id": 41,
                    "role": "developer",
                    "created_at": "2026-03-02T09:30:00Z",
                },
                response_only=True,
            ),
            GONE,
            problem_example(
                "Another address",
                status=403,
                code="email_mismatch",
                detail="The invitation is for another address than yours.",
            ),
        ],
    )
    def accept(self, request: Request, token: str) -> Response:
        membership = service.accept_invitation(token=token, user=self.user, now=self.now)
        return Response(AcceptedSerializer(membership).data)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, AlreadyMember):
            # The refusal has rolled its transaction back, so the ending is one of its own.
            service.dismiss_invitation(token=self.kwargs["token"], user=self.user, now=self.now)
        return super().handle_exception(exc)
