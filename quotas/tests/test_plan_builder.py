"""Staff build a plan in the admin: what it costs is shown, and it is on offer to its organization."""

from decimal import Decimal

import pytest
from django.test import Client

from orgs.models import AuditEvent
from quotas.charges import ChargeDefinition
from quotas.models import Plan, PlanOffer
from quotas.rating import Tier
from quotas.resources import Resource
from quotas.services.plans import LimitDefinition, definition_of

D = Decimal
BUILD, PREVIEW = "/admin/quotas/plan/build/", "/admin/quotas/plan/build/preview/"
FIELDS = {
    "code": "custom-acme",
    "name": "Acme's own",
    "description": "As agreed.",
    "organization": "acme",
    "limit_modules": "200",
    "limit_versions": "",
    "limit_storage": "10737418240",
    "limit_compile_jobs": "0",
    "limit_api_requests": "50000",
    "overage_compile_jobs": "on",
    "prices-TOTAL_FORMS": "2",
    "prices-INITIAL_FORMS": "0",
    "prices-0-currency": "USD",
    "prices-0-month": "1250.50",
    "prices-0-year": "12000",
    "prices-1-currency": "jpy",
    "prices-1-month": "90000",
    "prices-1-year": "",
    "charges-TOTAL_FORMS": "2",
    "charges-INITIAL_FORMS": "0",
    "charges-0-resource": "compile_jobs",
    "charges-0-currency": "usd",
    "charges-0-model": "graduated",
    "charges-0-unit": "job",
    "charges-0-unit_size": "1",
    "charges-0-included": "0",
    "charges-0-tiers": "10: 10 + 2\n20: 5 + 3\n\nabove: 5 + 3",
    "charges-0-minimum": "1.5",
    "charges-1-resource": "compile_jobs",
    "charges-1-currency": "jpy",
    "charges-1-model": "per_unit",
    "charges-1-unit": "job",
    "charges-1-unit_size": "1",
    "charges-1-included": "0",
    "charges-1-unit_amount": "12.5",
    "sample-currency": "usd",
    "sample-interval": "month",
    "sample-storage_gb": "",
    "sample-compile_jobs": "21",
    "sample-api_requests": "0",
}


@pytest.fixture
def staff(cast, plans) -> Client:
    cast.staff.is_superuser = True
    cast.staff.save()
    client = Client()
    client.force_login(cast.staff, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_published_it_is_what_the_form_said(staff, cast):
    answer = staff.post(BUILD, FIELDS)
    plan = Plan.objects.current().get(code="custom-acme")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/admin/quotas/plan/{plan.pk}/change/"
    definition = definition_of(plan)
    assert (definition.name, definition.is_public) == ("Acme's own", False)
    assert definition.limits == {
        Resource.MODULES: LimitDefinition(200),
        Resource.VERSIONS: LimitDefinition(None),
        Resource.STORAGE: LimitDefinition(10 * 2**30),
        Resource.COMPILE_JOBS: LimitDefinition(0, overage=True),
        Resource.API_REQUESTS: LimitDefinition(50_000),
    }
    assert definition.prices == {
        ("usd", "month"): 125_050,
        ("usd", "year"): 1_200_000,
        ("jpy", "month"): 90_000,
    }
    assert definition.charges == {
        (Resource.COMPILE_JOBS, "usd"): ChargeDefinition(
            unit="job",
            unit_size=1,
            included=0,
            model="graduated",
            tiers=(Tier(D(10), D(10), D(2)), Tier(D(20), D(5), D(3)), Tier(None, D(5), D(3))),
            minimum=D("1.5"),
        ),
        (Resource.COMPILE_JOBS, "jpy"): ChargeDefinition("job", 1, 0, D("12.5")),
    }
    assert list(PlanOffer.objects.values_list("org__name", "code")) == [("acme", "custom-acme")]
    offered = AuditEvent.objects.get(action="plan.offered")
    assert (offered.org_id, offered.actor_label) == (cast.org.pk, "staff@example.com")


def test_built_again_the_same_is_no_new_version_and_another_is(staff):
    for name, version in (("Acme's own", 1), ("Acme's own", 1), ("Acme's second", 2)):
        staff.post(BUILD, {**FIELDS, "name": name})
        assert Plan.objects.current().get(code="custom-acme").version == version
    assert PlanOffer.objects.count() == 1


def test_the_preview_is_what_an_invoice_would_say(staff):
    page = staff.post(PREVIEW, FIELDS).content.decode()
    assert "<td>\n            Acme&#x27;s own, one month" in page
    assert "graduated: to 10 at 10 + 2, to 20 at 5 + 3, above at 5 + 3; at least 1.5" in page
    assert '<td class="number">163.00</td>' in page
    assert '<th class="number" data-total>1,413.50</th>' in page
    yen = {"sample-currency": "JPY", "sample-compile_jobs": "3"}
    assert "data-total>90,038</th>" in staff.post(PREVIEW, {**FIELDS, **yen}).content.decode()
    assert not Plan.objects.filter(code="custom-acme").exists()


def test_a_row_that_was_removed_does_not_count(staff):
    removed = {"charges-1-DELETE": "on", "prices-1-DELETE": "on"}
    staff.post(BUILD, {**FIELDS, **removed})
    definition = definition_of(Plan.objects.current().get(code="custom-acme"))
    assert [currency for currency, _ in definition.prices] == ["usd", "usd"]
    assert [currency for _, currency in definition.charges] == ["usd"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "Custom!"}, "Small letters, digits and hyphens"),
        ({"code": "pro"}, "kept in the file of plans"),
        ({"organization": "nobody"}, "There is no such organization."),
        ({"limit_modules": "-1"}, "greater than or equal to 0"),
        ({"prices-0-currency": "usx"}, "is no currency of ISO 4217"),
        ({"prices-0-month": "1.234"}, "At most 2 decimals."),
        ({"prices-1-month": "1.5"}, "At most 0 decimals."),
        ({"prices-1-currency": "usd"}, "Two rows are for the same currency and resource."),
        ({"charges-0-currency": "eur"}, "More compile_jobs is allowed, but has no charge in usd."),
        ({"charges-0-tiers": "ten: 5"}, "is no tier"),
        ({"charges-0-tiers": "1.2.3: 5"}, "is no tier"),
        ({"charges-0-tiers": "above: 0.0000000000001"}, "is no tier"),
        ({"charges-0-tiers": "above: 1000000000001"}, "is no tier"),
        ({"charges-0-tiers": "10: 5"}, "The last tier, and only the last, has no bound."),
        ({"charges-0-tiers": "10: 5\n5: 4\nabove: 1"}, "The bounds of tiers rise, from above 0."),
        ({"charges-0-model": "flat"}, "Say what a unit costs."),
        ({"charges-0-maximum": "1"}, "The minimum is not above the maximum."),
        ({"charges-0-unit_size": "0"}, "greater than or equal to 1"),
        ({"sample-currency": "??"}, "is no currency of ISO 4217"),
    ],
)
def test_a_mistake_is_named_and_publishes_nothing(staff, change, message):
    before = Plan.objects.count()
    for path in (BUILD, PREVIEW):
        answer = staff.post(path, {**FIELDS, **change})
        assert answer.status_code == 200
        assert message in answer.content.decode()
    assert (Plan.objects.count(), PlanOffer.objects.count()) == (before, 0)


def test_one_like_another_begins_with_its_parts(staff):
    pro = Plan.objects.current().get(code="pro")
    to_form = staff.get(f"/admin/quotas/plan/{pro.pk}/build-like/")
    page = staff.get(to_form.headers["Location"]).content.decode()
    assert 'value="49.00"' in page
    assert 'value="1,000 requests"' in page
    assert 'value="10737418240"' in page
    staff.post(BUILD, FIELDS)
    own = Plan.objects.current().get(code="custom-acme")
    assert "20: 5 + 3" in staff.get(f"{BUILD}?like={own.pk}").content.decode()


def test_who_may_not_add_plans_builds_none(staff, cast):
    cast.staff.is_superuser = False
    cast.staff.save()
    for path in (BUILD, PREVIEW):
        assert staff.post(path, FIELDS).status_code in (302, 403)
    assert not Plan.objects.filter(code="custom-acme").exists()


def test_an_organization_sees_what_is_on_offer_to_it_alone(staff, api):
    staff.post(BUILD, FIELDS)

    def codes(who, org):
        return [row["code"] for row in api(who).get(f"/orgs/{org}/plans").json()["results"]]

    assert codes("viewer", "acme") == ["free", "pro", "enterprise", "custom-acme"]
    assert codes("outsider", "rival") == ["free", "pro", "enterprise"]
    assert api("outsider").get("/orgs/acme/plans").status_code == 404
    (offer,) = PlanOffer.objects.all()
    staff.post(f"/admin/quotas/planoffer/{offer.pk}/delete/", {"post": "yes"})
    assert codes("viewer", "acme") == ["free", "pro", "enterprise"]
    assert AuditEvent.objects.filter(action="plan.offer_withdrawn").count() == 1


def test_an_offer_can_be_made_of_any_plan_there_is(staff, cast):
    add = "/admin/quotas/planoffer/add/"
    assert staff.post(add, {"org": cast.org.pk, "code": "custom"}).status_code == 302
    assert PlanOffer.objects.get().code == "custom"
    refused = staff.post(add, {"org": cast.org.pk, "code": "nothing"})
    assert b"There is no such plan." in refused.content
    assert PlanOffer.objects.count() == 1
