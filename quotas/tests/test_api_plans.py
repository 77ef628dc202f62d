"""GET /plans: the public catalogue."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from quotas.charges import ChargeDefinition
from quotas.models import Plan
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services.plan_file import read_plans
from quotas.services.plans import publish_plan

pytestmark = pytest.mark.usefixtures("plans")


def test_anybody_reads_the_plans_on_sale_in_their_order():
    response = APIClient().get("/plans")
    assert response.status_code == 200
    body = response.json()
    assert [plan["code"] for plan in body["results"]] == ["free", "pro", "enterprise"]
    assert (body["next"], body["previous"]) == (None, None)
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.headers["ETag"]


def test_a_plan_says_its_limits_prices_and_charges():
    response = APIClient().get("/plans/pro")
    assert response.status_code == 200
    assert response.json() == {
        "code": "pro",
        "version": 1,
        "name": "Pro",
        "description": "For teams that publish schemas every day.",
        "max_modules": 50,
        "max_versions_per_module": 500,
        "max_storage_bytes": 10737418240,
        "max_compile_jobs_per_month": 1000,
        "api_rate_limit_per_hour": 10000,
        "limits": [
            {"resource": "modules", "limit": 50, "unit": "modules", "overage": False},
            {
                "resource": "versions",
                "limit": 500,
                "unit": "versions of a module",
                "overage": False,
            },
            {"resource": "storage", "limit": 10737418240, "unit": "bytes", "overage": True},
            {"resource": "compile_jobs", "limit": 1000, "unit": "jobs a month", "overage": True},
            {
                "resource": "api_requests",
                "limit": 10000,
                "unit": "requests an hour",
                "overage": False,
            },
        ],
        "prices": [
            {"interval": interval, "amount_cents": amount, "currency": currency}
            for currency in ("eur", "usd")
            for interval, amount in (("month", 4900), ("year", 49000))
        ],
        "charges": [
            {
                "resource": resource,
                "unit": unit,
                "unit_size": size,
                "included": included,
                "model": "per_unit",
                "unit_amount": amount,
                "tiers": [],
                "minimum": None,
                "maximum": None,
                "currency": currency,
            }
            for currency in ("eur", "usd")
            for resource, unit, size, included, amount in (
                ("storage", "GB-month", 1073741824, 10737418240, "5"),
                ("compile_jobs", "job", 1, 1000, "0.05"),
                ("api_requests", "1,000 requests", 1000, 600000, "0.1"),
            )
        ],
    }


def test_a_charge_by_tiers_says_them():
    pro = read_plans()[1]
    tiered = ChargeDefinition(
        "job",
        1,
        0,
        model="volume",
        tiers=(Tier(Decimal("2.50"), Decimal(7)), Tier(None, Decimal(6), Decimal("0.10"))),
        minimum=Decimal("1.50"),
    )
    charges = {**pro.charges, (Resource.COMPILE_JOBS, "usd"): tiered}
    publish_plan(definition=replace(pro, charges=charges), now=timezone.now())
    answer = APIClient().get("/plans/pro").json()
    (charge,) = [
        row
        for row in answer["charges"]
        if (row["resource"], row["currency"]) == ("compile_jobs", "usd")
    ]
    assert charge == {
        "resource": "compile_jobs",
        "unit": "job",
        "unit_size": 1,
        "included": 0,
        "model": "volume",
        "unit_amount": "0",
        "tiers": [
            {"up_to": "2.5", "unit_amount": "7", "flat_amount": "0"},
            {"up_to": None, "unit_amount": "6", "flat_amount": "0.1"},
        ],
        "minimum": "1.5",
        "maximum": None,
        "currency": "usd",
    }


def test_only_the_current_version_is_on_sale():
    pro = read_plans()[1]
    publish_plan(definition=type(pro)(**{**vars(pro), "name": "Pro plus"}), now=timezone.now())
    found = APIClient().get("/plans/pro").json()
    assert (found["version"], found["name"]) == (2, "Pro plus")
    assert [plan["version"] for plan in APIClient().get("/plans").json()["results"]] == [1, 2, 1]
    assert Plan.objects.filter(code="pro").count() == 2


@pytest.mark.parametrize("code", ["custom", "nothing", "Pro"])
def test_what_is_not_on_sale_is_not_there(code):
    response = APIClient().get(f"/plans/{code}")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_pages_follow_the_order():
    first = APIClient().get("/plans?limit=2").json()
    assert [plan["code"] for plan in first["results"]] == ["free", "pro"]
    second = APIClient().get(first["next"]).json()
    assert [plan["code"] for plan in second["results"]] == ["enterprise"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_catalogue_is_read_only(method):
    assert getattr(APIClient(), method)("/plans").status_code == 405
    assert Plan.objects.count() == 4


def test_an_unchanged_catalogue_is_not_sent_again(django_assert_max_num_queries):
    tag = APIClient().get("/plans").headers["ETag"]
    with django_assert_max_num_queries(8):
        assert APIClient().get("/plans", HTTP_IF_NONE_MATCH=tag).status_code == 304
