"""Every address. The apps are mounted here and nowhere else."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from spoke.core import converters, docs, health, metrics
from spoke.pages.views import OwnTokens

converters.register()


def start(request: HttpRequest) -> HttpResponse:
    """People who are signed in get to their organizations, all others to what there is to read."""
    return redirect("pages_organizations" if request.user.is_authenticated else "docs")


urlpatterns: list[URLPattern | URLResolver] = [
    path("", start),
    path("accounts/tokens", OwnTokens.as_view(), name="pages_own_tokens"),
    path("app/", include("spoke.pages.urls")),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("metrics", metrics.metrics),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("docs/errors", docs.errors),
    path("docs", SpectacularSwaggerView.as_view(url_name="openapi"), name="docs"),
    path("admin/", admin.site.urls),
    path("_allauth/", include("allauth.headless.urls")),
    path("accounts/", include("allauth.urls")),
    path("", include("orgs.api.urls")),
    path("", include("orgs.web.urls")),
    path("", include("quotas.api.urls")),
    path("", include("registry.api.urls")),
    path("", include("billing.api.urls")),
]
handler400 = "spoke.core.problem.bad_request"
handler403 = "spoke.core.problem.permission_denied"
handler404 = "spoke.core.problem.page_not_found"
handler500 = "spoke.core.problem.server_error"
