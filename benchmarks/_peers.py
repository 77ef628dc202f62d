"""The request path's peers, served by the same process: a bare view and the conventional stack.

They read tables without policies, copies of ours, so that they need no tenant context.
"""

import hashlib

from django.db import models
from django.db.models import F
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotFound
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from orgs.api.organization_serializers import OrganizationSerializer
from orgs.models import User

TABLES = """
CREATE TABLE bench_organization AS SELECT * FROM orgs_organization;
ALTER TABLE bench_organization ADD PRIMARY KEY (id);
CREATE TABLE bench_membership AS SELECT * FROM orgs_membership;
CREATE UNIQUE INDEX ON bench_membership (org_id, user_id);
CREATE TABLE bench_token AS SELECT id, digest, user_id FROM orgs_apitoken;
CREATE UNIQUE INDEX ON bench_token (digest);
CREATE TABLE bench_usage AS SELECT id AS org_id, 0::bigint AS used FROM orgs_organization;
ALTER TABLE bench_usage ADD PRIMARY KEY (org_id);
ANALYZE;
GRANT SELECT, UPDATE ON bench_organization, bench_membership, bench_token, bench_usage TO spoke_app;
"""


class BenchOrganization(models.Model):
    name = models.CharField(max_length=63)
    display_name = models.CharField(max_length=200)
    description = models.TextField()
    plan_tier = models.CharField(max_length=32)
    pending_plan_tier = models.CharField(max_length=32)
    status = models.CharField(max_length=16)
    status_reason = models.CharField(max_length=500)
    settings = models.JSONField()
    revision = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    purge_after = models.DateTimeField(null=True)
    owner = models.ForeignKey(User, models.DO_NOTHING, related_name="+")

    class Meta:
        app_label, managed, db_table = "bench", False, "bench_organization"


class BenchMembership(models.Model):
    org = models.ForeignKey(BenchOrganization, models.DO_NOTHING, related_name="+")
    user = models.ForeignKey(User, models.DO_NOTHING, related_name="+")
    role = models.CharField(max_length=16)

    class Meta:
        app_label, managed, db_table = "bench", False, "bench_membership"


class BenchToken(models.Model):
    digest = models.CharField(max_length=64)
    user = models.ForeignKey(User, models.DO_NOTHING, related_name="+")

    class Meta:
        app_label, managed, db_table = "bench", False, "bench_token"


class BenchUsage(models.Model):
    org = models.OneToOneField(BenchOrganization, models.DO_NOTHING, primary_key=True)
    used = models.BigIntegerField()

    class Meta:
        app_label, managed, db_table = "bench", False, "bench_usage"


class BareView(APIView):
    """The handler of `GET /orgs/{id}`, and nothing in front of it."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)

    def get(self, request, org):
        row = BenchOrganization.objects.select_related("owner").get(pk=org)
        context = {"request": request, "roles": {row.pk: "owner"}}
        return Response(
            OrganizationSerializer(row, context=context).data,
            headers={"ETag": f'"organization-{row.pk}-{row.revision}"'},
        )


class ConventionalToken(BaseAuthentication):
    def authenticate(self, request):
        raw = request.headers.get("Authorization", "").removeprefix("Bearer ")
        digest = hashlib.sha256(raw.encode()).hexdigest()
        token = BenchToken.objects.select_related("user").filter(digest=digest).first()
        if token is None:
            raise AuthenticationFailed
        return token.user, token


class IsMember(BasePermission):
    def has_permission(self, request, view):
        if not BenchMembership.objects.filter(
            org_id=view.kwargs["org"], user_id=request.user.pk
        ).exists():
            raise NotFound
        return True


class HourlyThrottle(SimpleRateThrottle):
    scope, rate = "organization", "100000/hour"

    def get_cache_key(self, request, view):
        return f"throttle:{view.kwargs['org']}"


class ConventionalView(BareView):
    authentication_classes = (ConventionalToken,)
    permission_classes = (IsMember,)
    throttle_classes = (HourlyThrottle,)

    def get(self, request, org):
        BenchUsage.objects.filter(org_id=org).update(used=F("used") + 1)
        return super().get(request, org)


urlpatterns = [
    path("bare/<int:org>", BareView.as_view()),
    path("conventional/<int:org>", ConventionalView.as_view()),
    path("", include("spoke.urls")),
]
