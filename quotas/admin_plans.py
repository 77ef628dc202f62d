"""Building a plan in the admin, with its price for a sample of usage beside it."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import action

from orgs.admin import actor_of
from quotas.models import Plan
from quotas.plan_forms import PlanBuilder
from quotas.services.offers import offer_plan
from quotas.services.plans import definition_of, publish_plan
from quotas.services.quotes import quote
from spoke.core.money import format_minor


class PlanBuilding:
    """Adds to the admin of plans a page that builds one."""

    actions_list = ("build",)
    actions_detail = ("build_like",)
    admin_site: Any

    def has_build_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Whoever may add plans may build them."""
        return request.user.has_perm("quotas.add_plan")

    def get_urls(self) -> list[URLPattern]:
        preview = self.admin_site.admin_view(self.preview)
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]
        return [path("build/preview/", preview, name="quotas_plan_preview"), *urls]

    @action(description="Build a plan", url_path="build", permissions=["build"])  # type: ignore[operator]
    def build(self, request: HttpRequest) -> HttpResponse:
        """Shows the form, and publishes what it says."""
        like = request.GET.get("like")
        if request.method == "POST":
            builder = PlanBuilder(request.POST)
            if builder.is_valid():
                return self._published(request, builder)
        elif like and like.isdigit():
            builder = PlanBuilder(like=definition_of(get_object_or_404(Plan, pk=int(like))))
        else:
            builder = PlanBuilder()
        context = {
            **self.admin_site.each_context(request),
            "title": "Build a plan",
            "builder": builder,
            "preview_url": reverse("admin:quotas_plan_preview"),
        }
        return render(request, "quotas/admin/build_plan.html", context)

    @action(  # type: ignore[operator]
        description="Build one like this", url_path="build-like", permissions=["build"]
    )
    def build_like(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Shows the form with this plan's parts."""
        return redirect(f"{reverse('admin:quotas_plan_build')}?like={object_id}")

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The price of the sample, or what is wrong with the form, as a fragment of a page."""
        if not self.has_build_permission(request):
            return HttpResponse(status=403)
        builder = PlanBuilder(request.POST)
        context: dict[str, Any] = {"builder": builder}
        if builder.is_valid():
            sample = builder.sample.cleaned_data
            found = quote(
                definition=builder.definition,
                currency=sample["currency"],
                interval=sample["interval"],
                usage=builder.sample.usage(),
            )
            context["lines"] = [
                (line, format_minor(line.amount_minor, found.currency)) for line in found.lines
            ]
            context["total"] = format_minor(found.total_minor, found.currency)
            context["currency"] = found.currency.upper()
        return render(request, "quotas/admin/plan_preview.html", context)

    def _published(self, request: HttpRequest, builder: PlanBuilder) -> HttpResponse:
        now, organization = timezone.now(), builder.plan.cleaned_data["organization"]
        with transaction.atomic():
            plan = publish_plan(definition=builder.definition, now=now)
            if organization is not None:
                offer_plan(org_id=organization.pk, code=plan.code, actor=actor_of(request), now=now)
        told = f" It is on offer to {organization}." if organization else ""
        messages.success(request, f"{plan} is published.{told}")
        return redirect("admin:quotas_plan_change", plan.pk)
