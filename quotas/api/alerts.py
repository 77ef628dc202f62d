"""Alerts of usage: thresholds, and who wants mail of them."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrgScopedViewSet
from orgs.roles import Permission
from quotas.models.alert import ALERTED, HIGHEST_THRESHOLD, LOWEST_THRESHOLD
from quotas.services.alert_settings import (
    MOST_FIRED,
    MOST_THRESHOLDS,
    alert_overview,
    change_alerts,
    lock_alert_settings,
)
from quotas.tasks import evaluate_alerts_of
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.schema import ProblemSerializer, problem_example
from spoke.core.serializers import BoundedListField, StrictSerializer


def _percents(help_text: str) -> Any:
    return BoundedListField(
        child=serializers.IntegerField(min_value=LOWEST_THRESHOLD, max_value=HIGHEST_THRESHOLD),
        max_length=MOST_THRESHOLDS,
        required=False,
        allow_null=True,
        help_text=f"{help_text} Percent; empty: none; null: the default ones, 50, 80 and 100.",
    )


class ThresholdsSerializer(StrictSerializer):
    """Thresholds in percent by what they are of."""

    modules = _percents("Of the limit.")
    storage = _percents("Of the limit.")
    compile_jobs = _percents("Of the limit of the period.")
    api_requests = _percents("Of what the plan includes in a period; none where it says no amount.")
    overage = _percents("Of the budget.")


class AlertsChangeSerializer(StrictSerializer):
    """Only what is sent changes."""

    thresholds = ThresholdsSerializer(required=False)
    email_me = serializers.BooleanField(
        required=False, help_text="Whether you, an owner or admin, get mail of these alerts."
    )


class AlertSerializer(serializers.Serializer[Any]):
    resource = serializers.ChoiceField(choices=ALERTED)
    threshold = serializers.IntegerField(help_text="Percent.")
    used = serializers.IntegerField(help_text="When it fired.")
    limit = serializers.IntegerField(help_text="When it fired. Overage: minor units of a currency.")
    fired_at = serializers.DateTimeField()


class AlertsSerializer(serializers.Serializer[Any]):
    """Thresholds, and those that fired."""

    thresholds = ThresholdsSerializer()
    email_me = serializers.BooleanField()
    fired = AlertSerializer(
        many=True, help_text=f"In the current period, latest first, {MOST_FIRED} at most."
    )


_DEFAULT = [50, 80, 100]
ALERTS = OpenApiExample(
    "A pro organization near the end of its month",
    value={
        "thresholds": {
            "modules": [],
            "storage": _DEFAULT,
            "compile_jobs": [75, 100, 150],
            "api_requests": _DEFAULT,
            "overage": _DEFAULT,
        },
        "email_me": True,
        "fired": [
            {
                "resource": "compile_jobs",
                "threshold": 75,
                "used": 761,
                "limit": 1000,
                "fired_at": "2026-11-23T14:20:07Z",
            }
        ],
    },
    response_only=True,
)
CHANGE = OpenApiExample(
    "Other thresholds for compile jobs, none for modules, the default ones for storage",
    value={"thresholds": {"compile_jobs": [75, 100, 150], "modules": [], "storage": None}},
    request_only=True,
)
QUIET = OpenApiExample("No mail to me", value={"email_me": False}, request_only=True)
TOO_HIGH = problem_example(
    "Validation error",
    status=400,
    code="validation_error",
    detail="The request is not valid: thresholds.modules.0.",
    errors=[
        {
            "field": "thresholds.modules.0",
            "code": "max_value",
            "detail": "Ensure this value is less than or equal to 1000.",
        }
    ],
)


@extend_schema(tags=["usage"])
class AlertsView(OrgScopedViewSet):
    """The usage alerts of an organization."""

    permissions = {"retrieve": Permission.ALERTS_READ, "update": Permission.ALERTS_WRITE}

    @extend_schema(
        summary="Read the thresholds of usage alerts, and those reached in this period",
        responses={200: AlertsSerializer},
        examples=[ALERTS],
    )
    def retrieve(self, request: Request, org: str) -> Response:
        return self._answer()

    @extend_schema(
        summary="Change the thresholds of usage alerts, or whether you get mail of them",
        description="Changes only what is sent. A threshold fires once a period; of several that are "
        "reached at once the highest is mailed, to every owner and admin who wants it. Audited.",
        request=AlertsChangeSerializer,
        responses={
            200: AlertsSerializer,
            400: OpenApiResponse(ProblemSerializer, examples=[TOO_HIGH]),
        },
        examples=[CHANGE, QUIET, ALERTS],
    )
    def update(self, request: Request, org: str) -> Response:
        sent = self.valid(AlertsChangeSerializer, request.data)
        settings = lock_alert_settings(org_id=self.org.pk, now=self.now)
        self.require_match(request, self._name(settings.revision))
        change_alerts(
            org_id=self.org.pk,
            actor=self.context.actor,
            now=self.now,
            thresholds=sent.get("thresholds"),
            email_me=sent.get("email_me"),
        )
        if "thresholds" in sent:
            enqueue_on_commit(evaluate_alerts_of, self.org.pk)
        return self._answer()

    def _answer(self) -> Response:
        found = alert_overview(org_id=self.org.pk, user=self.context.actor.user, now=self.now)
        data = AlertsSerializer(found).data
        return Response(data, headers={"ETag": self._name(found.revision)})

    def _name(self, revision: int) -> str:
        return f'"alerts-{self.org.pk}-{revision}"'
