"""Billing details: whom invoices are made out to."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import BillingDetails
from billing.services.details import OWN, change_details, lock_details
from billing.tasks import push_details
from billing.tax import TAX_ID_PATTERNS
from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import StrictSerializer
from spoke.core.views import etag_of

TAGS = ["Billing"]
_SENT: dict[str, Any] = {
    "legal_name": "Acme Robotics GmbH",
    "line1": "Torstraße 1",
    "line2": "",
    "city": "Berlin",
    "postal_code": "10119",
    "state": "",
    "country": "DE",
    "tax_id_type": "eu_vat",
    "tax_id": "DE123456789",
}
DETAILS = OpenApiExample("Of a German company", value=_SENT, request_only=True)
STORED = OpenApiExample(
    "As they are kept",
    value=_SENT | {"tax_exempt": False, "updated_at": "2026-10-05T09:30:00Z"},
    response_only=True,
)
WRONG_ID = problem_example(
    "Not a tax id of the country",
    status=400,
    code="invalid",
    detail="This is no eu_vat of the address's country.",
    field="tax_id",
)


def _text(most: int, **more: Any) -> serializers.CharField:
    return serializers.CharField(max_length=most, allow_blank=True, default="", **more)


class DetailsInput(StrictSerializer):
    """What is left out of a PUT is emptied; of a PATCH it stays."""

    legal_name = _text(200)
    line1 = _text(200)
    line2 = _text(200)
    city = _text(100)
    postal_code = _text(20)
    state = _text(64)
    country = serializers.RegexField(
        r"\A([A-Z]{2})?\Z", allow_blank=True, default="", help_text="ISO 3166-1, two letters."
    )
    tax_id_type = serializers.ChoiceField(
        choices=sorted(TAX_ID_PATTERNS), allow_blank=True, default=""
    )
    tax_id = _text(32, help_text="Checked by its form alone.")


class DetailsSerializer(serializers.Serializer[Any]):
    legal_name = serializers.CharField()
    line1 = serializers.CharField()
    line2 = serializers.CharField()
    city = serializers.CharField()
    postal_code = serializers.CharField()
    state = serializers.CharField()
    country = serializers.CharField()
    tax_id_type = serializers.CharField()
    tax_id = serializers.CharField()
    tax_exempt = serializers.BooleanField(help_text="Only Spoke's staff set this.")
    updated_at = serializers.DateTimeField(allow_null=True)


class DetailsViewSet(OrgScopedViewSet):
    """An organization's billing details."""

    permissions = {
        "retrieve": Permission.BILLING_READ,
        "replace": Permission.BILLING_WRITE,
        "change": Permission.BILLING_WRITE,
    }

    @extend_schema(
        operation_id="orgs_billing_details_retrieve",
        tags=TAGS,
        summary="Read the billing details",
        responses=DetailsSerializer,
        examples=[STORED],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        row = BillingDetails.objects.filter(org_id=self.org.pk).first()
        return self._answer(row or BillingDetails(org=self.org, revision=0))

    @extend_schema(
        operation_id="orgs_billing_details_update",
        tags=TAGS,
        summary="Set the billing details",
        description="They are printed on invoices given out from now on, and decide about tax.",
        request=DetailsInput,
        responses={200: DetailsSerializer, 412: ProblemSerializer},
        examples=[DETAILS, STORED, WRONG_ID],
    )
    def replace(self, request: Request, org: str) -> Response:
        return self._changed(request, self.valid(DetailsInput, request.data))

    @extend_schema(
        operation_id="orgs_billing_details_partial_update",
        tags=TAGS,
        summary="Change some of the billing details",
        request=DetailsInput,
        responses={200: DetailsSerializer, 412: ProblemSerializer},
        examples=[DETAILS, STORED],
    )
    def change(self, request: Request, org: str) -> Response:
        return self._changed(request, self.valid(DetailsInput, request.data, partial=True))

    def _changed(self, request: Request, changes: dict[str, Any]) -> Response:
        before = lock_details(org_id=self.org.pk, now=self.now)
        self.require_match(request, self._etag(before))
        row = change_details(
            org_id=self.org.pk,
            changes={name: changes[name] for name in OWN if name in changes},
            actor=self.context.actor,
            now=self.now,
        )
        enqueue_on_commit(push_details, self.org.pk)
        return self._answer(row)

    def _answer(self, row: BillingDetails) -> Response:
        return Response(DetailsSerializer(row).data, headers={"ETag": self._etag(row)})

    def _etag(self, row: BillingDetails) -> str:
        # The same whether there is no row yet or an empty one.
        return etag_of(BillingDetails(pk=self.org.pk, revision=row.revision))
