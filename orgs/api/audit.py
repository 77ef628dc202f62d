"""The audit log: to read page by page, and to take along."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.models import AuditEvent
from orgs.roles import Permission
from orgs.services.audit_export import as_csv, as_json_lines
from spoke.core.serializers import PageQuerySerializer

TAGS = ["Audit log"]
KINDS = ["user", "token", "staff", "system"]
FORMATS = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_json_lines, "application/x-ndjson"),
}


class AuditQuery(PageQuerySerializer):
    actor = serializers.CharField(
        max_length=254, required=False, help_text="The actor's id, or its label (an address)."
    )
    actor_kind = serializers.ChoiceField(choices=KINDS, required=False)
    action = serializers.CharField(
        max_length=64,
        required=False,
        help_text="An action, such as `member.removed`, or all of a kind: `member.`.",
    )
    target_type = serializers.CharField(max_length=32, required=False)
    target_id = serializers.CharField(max_length=128, required=False)
    since = serializers.DateTimeField(required=False, help_text="At this time or later.")
    until = serializers.DateTimeField(required=False, help_text="Before this time.")

    def validate_actor(self, value: str) -> str:
        if value.isdigit() and len(value) > 18:
            raise serializers.ValidationError("This is no id.", code="invalid")
        return value


class AuditExportQuery(AuditQuery):
    PASSED = frozenset()  # an export has no pages

    format = serializers.ChoiceField(choices=list(FORMATS))


class AuditEventSerializer(serializers.Serializer[AuditEvent]):
    """One act: who did what to what, when, in which request."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor_kind = serializers.ChoiceField(choices=KINDS)
    actor_id = serializers.IntegerField(allow_null=True)
    actor_label = serializers.CharField()
    action = serializers.CharField()
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # a field, no attribute
    request_id = serializers.CharField()


class AuditLogViewSet(OrgScopedViewSet):
    permissions = {"list": Permission.AUDIT_READ, "export": Permission.AUDIT_READ}
    queries = {"list": AuditQuery, "export": AuditExportQuery}
    serializer_class = AuditEventSerializer
    queryset = AuditEvent.objects.none()

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # An export is no JSON: what the client accepts is not held against our JSON renderer.
        return super().perform_content_negotiation(request, force=force or self.action == "export")

    @extend_schema(
        summary="Read the audit log",
        description="Newest first.",
        tags=TAGS,
        examples=[
            OpenApiExample(
                "A removal",
                value={
                    "id": 9001,
                    "at": "2026-03-01T10:00:00Z",
                    "actor_kind": "user",
                    "actor_id": 3,
                    "actor_label": "ada@example.com",
                    "action": "invitation.created",
                    "target_type": "invitation",
                    "target_id": "12",
                    "data": {"email": "lin@example.com", "role": "developer"},
                    "request_id": "5b0c2a9d6d5f4b6b9c7d1f0a8e3c4d21",
                },
                response_only=True,
            )
        ],
    )
    def list(self, request: Request, org: str) -> Response:
        rows = AuditEvent.objects.for_org(self.org.pk).matching(**self.query)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        summary="Export the audit log",
        description="All events that match, newest first, as CSV or JSON lines.",
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
        },
        tags=TAGS,
        filters=False,
    )
    def export(self, request: Request, org: str) -> StreamingHttpResponse:
        filters = dict(self.query)
        kind = filters.pop("format")
        write, content_type = FORMATS[kind]
        filename = f"{self.org.name}-audit-log-{self.now:%Y-%m-%d}.{kind}"
        return StreamingHttpResponse(
            write(org_id=self.org.pk, filters=filters),
            content_type=content_type,
            headers={"Content-Disposition": f'attachment; filename="{filename}"'},
        )
