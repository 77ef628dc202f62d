"""Invoices: what was billed, what the period under way comes to, and billing a period by hand."""

from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.documents import invoice_page, invoice_pdf
from billing.models import Invoice, InvoiceStatus, LineKind
from billing.services import invoicing
from billing.services.lines import DEFAULT_CURRENCY, Line
from billing.services.totals import FullBill
from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from spoke.core.errors import NotFound
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import PageQuerySerializer, StrictSerializer

TAGS = ["Billing"]
_LINE: dict[str, Any] = {
    "kind": "overage",
    "description": "Compile jobs beyond the plan",
    "resource": "compile_jobs",
    "period_start": "2026-10-05T09:30:00Z",
    "period_end": "2026-11-05T09:30:00Z",
    "unit": "job",
    "quantity": "1234",
    "included": "1000",
    "unit_amount": "0.05",
    "precise_amount": "11.7",
    "amount_cents": 1170,
}
_BASE = _LINE | {
    "kind": "base",
    "description": "Pro, one month",
    "resource": "",
    "unit": "",
    "quantity": "1",
    "included": "0",
    "unit_amount": "49",
    "precise_amount": "49",
    "amount_cents": 4900,
}
_INVOICE: dict[str, Any] = {
    "id": 311,
    "number": "SPK-2026-000042",
    "status": "open",
    "period_start": "2026-10-05T09:30:00Z",
    "period_end": "2026-11-05T09:30:00Z",
    "currency": "usd",
    "subtotal_cents": 6070,
    "tax_cents": 0,
    "amount_cents": 6070,
    "credited_cents": 0,
    "prepaid_cents": 0,
    "amount_due_cents": 6070,
    "payment_url": "",
    "created_at": "2026-11-05T09:35:02Z",
    "finalized_at": "2026-11-05T10:35:04Z",
    "due_at": "2026-11-19T10:35:04Z",
    "settled_at": None,
}
_DETAIL = _INVOICE | {
    "bill_to": {
        "name": "acme",
        "display_name": "Acme",
        "email": "ada@acme.example",
        "legal_name": "Acme Robotics GmbH",
        "line1": "Torstraße 1",
        "line2": "",
        "city": "Berlin",
        "postal_code": "10119",
        "state": "",
        "country": "DE",
        "tax_id_type": "eu_vat",
        "tax_id": "DE123456789",
    },
    "tax_note": "",
    "lines": [_BASE, _LINE],
}
INVOICE = OpenApiExample("An invoice", value=_INVOICE, response_only=True)
DETAIL = OpenApiExample("With its lines", value=_DETAIL, response_only=True)
UPCOMING = OpenApiExample(
    "So far",
    value={
        key: _DETAIL[key]
        for key in (
            *("period_start", "period_end", "currency", "subtotal_cents", "tax_cents"),
            *("amount_cents", "tax_note", "lines"),
        )
    },
    response_only=True,
)
NOT_OVER = problem_example(
    "Too early", status=409, code="period_not_over", detail="The period is not over."
)


@extend_schema_field(OpenApiTypes.STR)
class PlainDecimalField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal number as text, without trailing zeros or an exponent."""

    def to_representation(self, value: Decimal) -> str:
        return f"{value.normalize():f}"


class LineSerializer(serializers.Serializer[Any]):
    """Amounts with a point are in major units; `amount_cents` is in minor units."""

    kind = serializers.ChoiceField(choices=LineKind.choices)
    description = serializers.CharField()
    resource = serializers.CharField(help_text="Of overage; else empty.")
    period_start = serializers.DateTimeField(source="start")
    period_end = serializers.DateTimeField(source="end")
    unit = serializers.CharField()
    quantity = PlainDecimalField(help_text="So many units; a decimal number.")
    included = PlainDecimalField(help_text="So many of them cost nothing.")
    unit_amount = PlainDecimalField()
    precise_amount = PlainDecimalField(help_text="Before it was rounded.")
    amount_cents = serializers.IntegerField(source="amount_minor")


class InvoiceSerializer(serializers.Serializer[Any]):
    """`number` comes with the end of the draft."""

    id = serializers.IntegerField()
    number = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=InvoiceStatus.choices)
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    currency = serializers.CharField()
    subtotal_cents = serializers.IntegerField(
        source="subtotal_minor", help_text="What tax is on: without it."
    )
    tax_cents = serializers.IntegerField(source="tax_minor")
    amount_cents = serializers.IntegerField(
        source="total_minor", help_text="With tax, less what was paid before: the total."
    )
    credited_cents = serializers.IntegerField(
        source="credited_minor", help_text="What credit notes took off again."
    )
    prepaid_cents = serializers.IntegerField(
        source="prepaid_minor",
        help_text="What the customer's balance at Stripe paid of it, or a payment of a part; below"
        " zero: what was owed before is collected with it.",
    )
    amount_due_cents = serializers.IntegerField(
        source="due_minor",
        help_text="What is still to be paid: less what credit notes took off and what is prepaid.",
    )
    payment_url = serializers.CharField(
        help_text="Stripe's page where it can be paid, while it is open; else empty."
    )
    created_at = serializers.DateTimeField()
    finalized_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    settled_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was paid, or given up."
    )


class BillToSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    email = serializers.CharField()
    legal_name = serializers.CharField(required=False)
    line1 = serializers.CharField(required=False)
    line2 = serializers.CharField(required=False)
    city = serializers.CharField(required=False)
    postal_code = serializers.CharField(required=False)
    state = serializers.CharField(required=False)
    country = serializers.CharField(required=False)
    tax_id_type = serializers.CharField(required=False)
    tax_id = serializers.CharField(required=False)


class InvoiceDetailSerializer(InvoiceSerializer):
    bill_to = BillToSerializer()
    tax_note = serializers.CharField(help_text="Why no tax is charged, where that has to be said.")
    lines = serializers.SerializerMethodField()

    @extend_schema_field(LineSerializer(many=True))
    def get_lines(self, invoice: Invoice) -> Any:
        return LineSerializer(invoice.lines.order_by("position"), many=True).data


class UpcomingSerializer(serializers.Serializer[Any]):
    """Storage is taken to stay as it is until the period's end."""

    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField()
    currency = serializers.CharField()
    subtotal_cents = serializers.IntegerField(source="subtotal_minor")
    tax_cents = serializers.IntegerField(source="tax_minor")
    amount_cents = serializers.IntegerField(source="total_minor")
    tax_note = serializers.CharField()
    lines = LineSerializer(many=True)


class InvoiceQuerySerializer(PageQuerySerializer):
    status = serializers.ChoiceField(choices=InvoiceStatus.choices, required=False)


class GenerateSerializer(StrictSerializer):
    period_start = serializers.DateTimeField(
        required=False, help_text="Left out: the last period that ended."
    )


class InvoiceViewSet(OrgScopedViewSet):
    """An organization's invoices."""

    queryset = Invoice.objects.none()
    permissions = {
        "list": Permission.BILLING_READ,
        "retrieve": Permission.BILLING_READ,
        "pdf": Permission.BILLING_READ,
        "page": Permission.BILLING_READ,
        "upcoming": Permission.BILLING_READ,
        "generate": Permission.BILLING_MANAGE,
    }
    queries = {"list": InvoiceQuerySerializer}
    list_ordering = ("-period_start", "-id")

    @extend_schema(
        tags=TAGS,
        summary="List invoices",
        description="Newest first.",
        responses=InvoiceSerializer(many=True),
        examples=[INVOICE],
    )
    def list(self, request: Request, org: str) -> Response:
        invoices = Invoice.objects.for_org(self.org.pk).shown()
        return self.paged(invoices.filter(**self.query), InvoiceSerializer)

    @extend_schema(
        operation_id="orgs_invoice_retrieve",
        tags=TAGS,
        summary="Read an invoice with its lines",
        responses=InvoiceDetailSerializer,
        examples=[DETAIL],
    )
    def retrieve(self, request: Request, org: str, invoice_id: int) -> Response:
        return Response(InvoiceDetailSerializer(self._found(invoice_id)).data)

    @extend_schema(
        operation_id="orgs_invoice_pdf",
        tags=TAGS,
        summary="Read an invoice as PDF",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, 404: ProblemSerializer},
    )
    def pdf(self, request: Request, org: str, invoice_id: int) -> HttpResponse:
        invoice = self._found(invoice_id)
        name = invoice.number or f"draft-{invoice.pk}"
        return HttpResponse(
            invoice_pdf(invoice),
            content_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{name}.pdf"'},
        )

    @extend_schema(
        operation_id="orgs_invoice_page",
        tags=TAGS,
        summary="Read an invoice as a page",
        responses={(200, "text/html"): OpenApiTypes.STR, 404: ProblemSerializer},
    )
    def page(self, request: Request, org: str, invoice_id: int) -> HttpResponse:
        return HttpResponse(invoice_page(self._found(invoice_id)))

    def _found(self, invoice_id: int) -> Invoice:
        invoice = Invoice.objects.for_org(self.org.pk).shown().filter(pk=invoice_id).first()
        if invoice is None:
            raise NotFound("There is no such invoice.")
        return invoice

    @extend_schema(
        operation_id="orgs_invoice_upcoming",
        tags=TAGS,
        summary="What the period under way comes to so far",
        responses=UpcomingSerializer,
        examples=[UPCOMING],
    )
    def upcoming(self, request: Request, org: str) -> Response:
        period, bill = invoicing.upcoming(org_id=self.org.pk, now=self.now)
        bill = bill or FullBill(DEFAULT_CURRENCY, list[Line]())
        answer = {
            "period_start": period.start,
            "period_end": period.end,
            "currency": bill.currency,
            "subtotal_minor": bill.subtotal_minor,
            "tax_minor": bill.tax_minor,
            "total_minor": bill.total_minor,
            "tax_note": bill.tax_note,
            "lines": bill.lines,
        }
        return Response(UpcomingSerializer(answer).data)

    @extend_schema(
        operation_id="orgs_invoice_generate",
        tags=TAGS,
        summary="Make the invoice of an ended period",
        description="For staff. The same period again returns the same invoice, and closes nothing"
        " twice. It is a draft as long as its period takes late events, for an hour.",
        request=GenerateSerializer,
        responses={200: InvoiceDetailSerializer, 409: ProblemSerializer},
        examples=[DETAIL, NOT_OVER],
    )
    def generate(self, request: Request, org: str) -> Response:
        sent = self.valid(GenerateSerializer, request.data)
        invoice = invoicing.generate_invoice(
            org_id=self.org.pk, period_start=sent.get("period_start"), now=self.now
        )
        return Response(InvoiceDetailSerializer(invoice).data)
