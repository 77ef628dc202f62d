"""Credits, and credit notes of invoices."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.documents import note_pdf
from billing.models import Credit, CreditNote, Invoice, NoteKind, NoteSource, NoteStatus
from billing.services import credit_notes
from billing.services.credits import MOST, grant_credit
from billing.tasks import push_due_notes
from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.errors import NotFound
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

TAGS = ["Billing"]
_GRANT: dict[str, Any] = {
    "amount_cents": 5000,
    "currency": "usd",
    "reason": "For the outage of 3 October",
    "priority": 100,
    "expires_at": "2027-10-05T00:00:00Z",
}
GRANT = OpenApiExample("Fifty dollars for a year", value=_GRANT, request_only=True)
CREDIT = OpenApiExample(
    "A credit",
    value={
        "id": 12,
        **_GRANT,
        "remaining_cents": 3830,
        "after_tax": False,
        "granted_by": "grace@spoke.example",
        "created_at": "2026-10-05T09:30:00Z",
    },
    response_only=True,
)
_NOTE: dict[str, Any] = {"kind": "refund", "amount_cents": 1190, "reason": "Jobs counted twice"}
ISSUE = OpenApiExample("Money back", value=_NOTE, request_only=True)
NOTE = OpenApiExample(
    "A credit note",
    value={
        "id": 7,
        "number": "SPK-CN-2026-000007",
        "invoice": 311,
        **_NOTE,
        "tax_cents": 190,
        "currency": "usd",
        "status": "settled",
        "origin": "spoke",
        "created_at": "2026-11-20T11:00:00Z",
        "settled_at": "2026-11-20T11:00:03Z",
    },
    response_only=True,
)
TOO_MUCH = problem_example(
    "More than is left",
    status=400,
    code="credit_exceeds_invoice",
    detail="Between 1 and 6070, which is left of the invoice, can be given back.",
    field="amount_cents",
)
WRONG_STATUS = problem_example(
    "Not of this status",
    status=409,
    code="invoice_status",
    detail="An invoice that is open is not corrected by a refund.",
)


class CreditInput(StrictSerializer):
    amount_cents = serializers.IntegerField(min_value=1, max_value=MOST)
    currency = serializers.RegexField(r"\A[a-z]{3}\Z")
    reason = serializers.CharField(max_length=200)
    priority = serializers.IntegerField(
        min_value=0, max_value=32_767, default=100, help_text="The lowest is used first."
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Of what a period before then costs it pays."
    )


class CreditSerializer(serializers.Serializer[Any]):
    """Used by invoices in order: lowest priority, soonest expiry, oldest."""

    id = serializers.IntegerField()
    amount_cents = serializers.IntegerField(source="amount_minor")
    remaining_cents = serializers.IntegerField(source="remaining_minor")
    currency = serializers.CharField()
    reason = serializers.CharField()
    priority = serializers.IntegerField()
    after_tax = serializers.SerializerMethodField(
        help_text="Of a credit note, whose amount has its tax in it; others lower what is taxed."
    )
    granted_by = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_after_tax(self, credit: Credit) -> bool:
        return credit.note_id is not None


class NoteInput(StrictSerializer):
    kind = serializers.ChoiceField(
        choices=NoteKind.choices,
        help_text="Of a paid invoice `refund` or `credit`; of an open one `reduction`.",
    )
    amount_cents = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST,
        help_text="Tax included. Left out: all that is left of the invoice.",
    )
    reason = serializers.CharField(max_length=500)


class NoteSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    number = serializers.CharField()
    invoice = serializers.IntegerField(source="invoice_id")
    kind = serializers.ChoiceField(choices=NoteKind.choices)
    amount_cents = serializers.IntegerField(source="amount_minor")
    tax_cents = serializers.IntegerField(source="tax_minor", help_text="Lies in the amount.")
    currency = serializers.CharField()
    reason = serializers.CharField()
    status = serializers.ChoiceField(
        choices=NoteStatus.choices, help_text="`issued`: the money is under way."
    )
    origin = serializers.ChoiceField(
        choices=NoteSource.choices, source="source", help_text="Who wrote it."
    )
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class CreditViewSet(OrgScopedViewSet):
    """What an organization has to its credit."""

    queryset = Credit.objects.none()
    permissions = {"list": Permission.BILLING_READ, "give": Permission.BILLING_MANAGE}
    queries = {"list": PageQuerySerializer}
    list_ordering = ("-created_at", "-id")

    @extend_schema(
        tags=TAGS,
        summary="List credits",
        description="Newest first, used up and expired ones too.",
        responses=CreditSerializer(many=True),
        examples=[CREDIT],
    )
    def list(self, request: Request, org: str) -> Response:
        return self.paged(Credit.objects.filter(org_id=self.org.pk), CreditSerializer)

    @extend_schema(
        operation_id="orgs_credit_grant",
        tags=TAGS,
        summary="Grant a credit",
        description="For staff. Invoices for usage that are given out from now on use it, before tax.",
        request=CreditInput,
        responses={201: CreditSerializer},
        examples=[GRANT, CREDIT],
    )
    def give(self, request: Request, org: str) -> Response:
        sent = self.valid(CreditInput, request.data)
        credit = grant_credit(
            org_id=self.org.pk,
            amount_minor=sent["amount_cents"],
            currency=sent["currency"],
            reason=sent["reason"],
            priority=sent["priority"],
            expires_at=sent.get("expires_at"),
            actor=self.context.actor,
            now=self.now,
        )
        return Response(CreditSerializer(credit).data, status=201)


class CreditNoteViewSet(OrgScopedViewSet):
    """What corrects an invoice."""

    queryset = CreditNote.objects.none()
    permissions = {
        "list": Permission.BILLING_READ,
        "pdf": Permission.BILLING_READ,
        "issue": Permission.BILLING_MANAGE,
    }
    queries = {"list": PageQuerySerializer}
    list_ordering = ("-created_at", "-id")

    @extend_schema(
        operation_id="orgs_credit_note_list",
        tags=TAGS,
        summary="List the credit notes of an invoice",
        description="Newest first. Also those, and refunds, that were made at Stripe.",
        responses=NoteSerializer(many=True),
        examples=[NOTE],
    )
    def list(self, request: Request, org: str, invoice_id: int) -> Response:
        return self.paged(self._notes(invoice_id), NoteSerializer)

    @extend_schema(
        operation_id="orgs_credit_note_issue",
        tags=TAGS,
        summary="Give back, or take off, of an invoice",
        description="For staff. All notes together never exceed the invoice. A `refund` goes back by"
        " Stripe, or is paid out by hand; a `credit` pays for what comes; a `reduction` leaves less to"
        " pay, and pays an open invoice of which it leaves nothing.",
        request=NoteInput,
        responses={201: NoteSerializer, 409: ProblemSerializer},
        examples=[ISSUE, NOTE, TOO_MUCH, WRONG_STATUS],
    )
    def issue(self, request: Request, org: str, invoice_id: int) -> Response:
        sent = self.valid(NoteInput, request.data)
        note = credit_notes.issue_note(
            org_id=self.org.pk,
            invoice_id=invoice_id,
            kind=NoteKind(sent["kind"]),
            amount_minor=sent.get("amount_cents"),
            reason=sent["reason"],
            actor=self.context.actor,
            now=self.now,
        )
        enqueue_on_commit(push_due_notes)
        return Response(NoteSerializer(note).data, status=201)

    @extend_schema(
        operation_id="orgs_credit_note_pdf",
        tags=TAGS,
        summary="Read a credit note as PDF",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    def pdf(self, request: Request, org: str, invoice_id: int, note_id: int) -> HttpResponse:
        note = self._notes(invoice_id).select_related("invoice__branding").filter(pk=note_id)
        found = note.first()
        if found is None:
            raise NotFound("There is no such credit note.")
        return HttpResponse(
            note_pdf(found),
            content_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{found.number}.pdf"'},
        )

    def _notes(self, invoice_id: int) -> Any:
        invoices = Invoice.objects.for_org(self.org.pk).shown()
        if not invoices.filter(pk=invoice_id).exists():
            raise NotFound("There is no such invoice.")
        return CreditNote.objects.filter(org_id=self.org.pk, invoice_id=invoice_id)
