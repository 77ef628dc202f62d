"""Subscription and invoices through the API."""

from datetime import timedelta

import pytest

from billing.models import Invoice, Subscription
from billing.tests.conftest import START, at, work_through
from quotas.resources import Resource
from quotas.services.reservations import reserve
from spoke.core import tenancy

END = at(4, 5)
AFTER = END + timedelta(hours=1)


@pytest.fixture
def clock(time_machine):
    return lambda moment: time_machine.move_to(moment, tick=False)


@pytest.fixture
def invoices(org_id, subscribe, clock):
    """Two months of pro, the second with 234 jobs beyond the plan; the second is paid by nobody."""
    clock(START)
    subscribe("pro")
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1_234, now=at(4, 20))
    work_through(org_id, at(5, 5, 10, 30))
    clock(at(5, 6))


def test_the_list_is_newest_first(api, invoices):
    answer = api("owner").get("/orgs/acme/invoices")
    assert answer.status_code == 200
    assert [(row["number"], row["amount_cents"]) for row in answer.json()["results"]] == [
        ("SPK-2026-000002", 6_070),
        ("SPK-2026-000001", 4_900),
    ]
    assert api("owner").get("/orgs/acme/invoices?status=paid").json()["results"] == []
    assert len(api("owner").get("/orgs/acme/invoices?limit=1").json()["results"]) == 1


def test_one_with_its_lines(api, invoices, org_id):
    with tenancy.organization(org_id):
        newest = Invoice.objects.latest("period_start").pk
    answer = api("admin").get(f"/orgs/acme/invoices/{newest}")
    assert answer.status_code == 200
    body = answer.json()
    assert body["bill_to"]["name"] == "acme"
    assert body["due_at"] == "2026-05-19T10:30:00Z"
    assert body["lines"][1] == {
        "kind": "overage",
        "description": "Compile jobs beyond the plan",
        "resource": "compile_jobs",
        "period_start": "2026-04-05T09:30:00Z",
        "period_end": "2026-05-05T09:30:00Z",
        "unit": "job",
        "quantity": "1234",
        "included": "1000",
        "unit_amount": "0.05",
        "precise_amount": "11.7",
        "amount_cents": 1_170,
    }
    assert sum(line["amount_cents"] for line in body["lines"]) == body["amount_cents"]


def test_an_outsider_and_a_developer_get_none(api, invoices, org_id):
    with tenancy.organization(org_id):
        pk = Invoice.objects.first().pk
    for path in ("invoices", f"invoices/{pk}", "invoices/upcoming", "subscription"):
        assert api("outsider").get(f"/orgs/acme/{path}").status_code == 404
        assert api("developer").get(f"/orgs/acme/{path}").status_code == 403
    assert api("owner").get("/orgs/acme/invoices/999999").status_code == 404


def test_what_is_coming(api, subscribe, org_id, clock):
    clock(START)
    subscribe("pro")
    with tenancy.organization(org_id):
        reserve(org_id=org_id, resource=Resource.COMPILE_JOBS, amount=1_020, now=START)
    body = api("owner").get("/orgs/acme/invoices/upcoming").json()
    assert (body["amount_cents"], body["period_end"]) == (5_000, "2026-04-05T09:30:00Z")
    assert [line["amount_cents"] for line in body["lines"]] == [4_900, 100]


def test_on_the_free_plan_nothing_is_coming(api, org_id, clock):
    clock(START)
    body = api("owner").get("/orgs/acme/invoices/upcoming").json()
    assert (body["amount_cents"], body["currency"], body["lines"]) == (0, "usd", [])


def test_staff_make_an_invoice_and_get_the_same_again(api, subscribe, org_id, clock):
    clock(START)
    subscribe("pro")
    clock(END + timedelta(minutes=5))
    staff = api("staff")
    first = staff.post("/orgs/acme/invoices/generate", {})
    assert first.status_code == 200, first.content
    assert (first.json()["status"], first.json()["number"]) == ("draft", None)
    again = staff.post("/orgs/acme/invoices/generate", {"period_start": START.isoformat()})
    assert again.json()["id"] == first.json()["id"]
    work_through(org_id, AFTER)
    clock(AFTER)
    given_out = staff.post("/orgs/acme/invoices/generate", {"period_start": START.isoformat()})
    assert (given_out.json()["id"], given_out.json()["number"]) == (
        first.json()["id"],
        "SPK-2026-000001",
    )
    with tenancy.organization(org_id):
        assert Invoice.objects.count() == 1


def test_generate_says_what_is_wrong(api, subscribe, org_id, clock):
    clock(START)
    subscribe("pro")
    staff = api("staff")
    early = staff.post("/orgs/acme/invoices/generate", {"period_start": START.isoformat()})
    assert (early.status_code, early.json()["code"]) == (409, "period_not_over")
    none = staff.post("/orgs/acme/invoices/generate", {"period_start": "2026-01-01T00:00:00Z"})
    assert none.status_code == 404
    bad = staff.post("/orgs/acme/invoices/generate", {"period_start": "soon"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (400, "period_start")
    assert api("owner").post("/orgs/acme/invoices/generate", {}).status_code == 403
    with tenancy.organization(org_id):
        assert not Invoice.objects.exists()


def test_the_subscription_is_read(api, subscribe, org_id, clock):
    clock(START)
    none = api("owner").get("/orgs/acme/subscription")
    assert (none.status_code, none.json()["code"]) == (404, "no_subscription")
    subscribe("enterprise", interval="year", currency="eur")
    found = api("owner").get("/orgs/acme/subscription")
    assert found.headers["ETag"].startswith('"subscription-')
    body = found.json()
    assert {key: body[key] for key in ("plan", "status", "interval", "currency")} == {
        "plan": "enterprise",
        "status": "active",
        "interval": "year",
        "currency": "eur",
    }
    assert body["current_period_end"] == "2027-03-05T09:30:00Z"


def test_nothing_is_made_of_a_period_that_costs_nothing_beyond_stripes_invoice(
    api, subscribe, org_id, clock
):
    """The answer would be an invoice that nobody finds again."""
    clock(START)
    row = subscribe("pro")
    with tenancy.organization(org_id):
        Subscription.objects.filter(pk=row.pk).update(collection="stripe", stripe_id="sub_1")
    work_through(org_id, AFTER)
    clock(AFTER)
    for _ in range(2):
        answer = api("staff").post("/orgs/acme/invoices/generate", {})
        assert answer.status_code == 404, answer.content
