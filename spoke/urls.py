"""Every address. The apps are mounted here and nowhere else."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from spoke.core import converters, docs, health, metrics

converters.register()

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(url="/docs")),
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
