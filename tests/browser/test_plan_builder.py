"""Staff build a plan and see its price while they type."""

import io

import pytest
from django.core.management import call_command
from playwright.sync_api import expect

from quotas.models import Plan
from quotas.resources import Resource
from quotas.services.plans import definition_of


@pytest.fixture
def staff(committed_cast, sign_in):
    call_command("seed_plans", stdout=io.StringIO())
    committed_cast.staff.is_superuser = True
    committed_cast.staff.save()
    sign_in(committed_cast.staff)
    return committed_cast.staff


def test_the_price_follows_what_is_typed(page, staff):
    pro = Plan.objects.current().get(code="pro")
    page.goto(f"/admin/quotas/plan/{pro.pk}/change/")
    page.get_by_role("link", name="Build one like this").click()
    total = page.locator("[data-total]")
    expect(page.locator("#preview .wrong")).to_contain_text("code: This field is required.")
    page.fill("#id_code", "custom-acme")
    page.fill("#id_name", "Acme's own")
    page.fill("#id_organization", "acme")
    # 49, 5 GB at 5, 500 jobs at 0.05, and 400 thousand requests at 0.10.
    expect(total).to_have_text("139.00")
    page.fill("#id_prices-1-month", "100")
    expect(total).to_have_text("190.00")
    page.fill("#id_sample-compile_jobs", "1000")
    expect(total).to_have_text("165.00")

    jobs = page.locator(".row", has=page.locator("[value='job']")).last
    jobs.locator("select[name$=model]").select_option("graduated")
    expect(page.locator("#preview .wrong")).to_contain_text("Tiers belong to graduated")
    jobs.locator("textarea").fill("100: 1 + 2\nabove: 0.5")
    expect(page.locator("#preview")).to_contain_text("graduated: to 100 at 1 + 2, above at 0.5")
    page.fill("#id_sample-compile_jobs", "1101")
    expect(total).to_have_text("267.50")

    page.get_by_role("button", name="Add a price").click()
    page.fill("#id_prices-2-currency", "jpy")
    page.fill("#id_prices-2-month", "9000")
    expect(page.locator("#preview .wrong")).to_contain_text("has no charge in jpy")
    page.locator(".row", has=page.locator("#id_prices-2-currency")).get_by_role(
        "button", name="Remove"
    ).click()
    expect(total).to_have_text("267.50")

    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("It is on offer to")).to_be_visible()
    definition = definition_of(Plan.objects.current().get(code="custom-acme"))
    assert definition.prices["usd", "month"] == 10_000
    assert definition.charges[Resource.COMPILE_JOBS, "usd"].model == "graduated"
    assert ("jpy", "month") not in definition.prices
