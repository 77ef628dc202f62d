"""A budget's cap, from the API to the invoice on both sides."""

from datetime import timedelta

from orgs.tests.helpers import verify
from quotas import tasks as quota_tasks
from spoke.core import tenancy
from tests.support.stripe_world import utc

HOURS = timedelta(hours=1)


def cap(world, amount, action):
    answer = world.client().put("/orgs/acme/budget", {"amount_cents": amount, "action": action})
    assert answer.status_code == 200, answer.content


def may_be_written_to(world):
    """Their addresses are confirmed."""
    with tenancy.all_organizations(reason="test"):
        for person in (world.cast.owner, world.cast.admin):
            verify(person)


def compile_jobs(world, number):
    """What the registry reserves for so many jobs: through the API, as a hold that is kept."""
    url = "/orgs/acme/quotas/reservations"
    held = world.client().post(url, {"resource": "compile_jobs", "amount": number})
    if held.status_code == 201:
        url = f"{url}/{held.json()['id']}/commit"
        assert world.client().post(url, {}).status_code == 200
    return held


def test_budget_cap_reached_and_blocking(world, mailoutbox):
    """Refused to the cent; the invoice is what was let through. The next month begins anew."""
    world.subscribe()
    cap(world, 1_000, "block")
    may_be_written_to(world)
    assert compile_jobs(world, 1_200).status_code == 201
    refused = compile_jobs(world, 1)
    body = refused.json()
    assert (refused.status_code, body["code"]) == (403, "budget_exceeded")
    assert (body["budget_cents"], body["would_cost_cents"]) == (1_000, 1_005)
    assert world.client().get("/orgs/acme/budget").json()["spend"]["amount_cents"] == 1_000
    quota_tasks.evaluate_budgets()
    told = [mail for mail in mailoutbox if "100% of its overage budget" in mail.subject]
    assert told
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.invoices() == [
        ("stripe", 4_900, "paid"),
        ("stripe", 4_900, "paid"),
        ("usage", 1_000, "paid"),
    ]
    assert world.at_stripe() == [
        ("subscription_create", 4_900, "paid"),
        ("subscription_cycle", 4_900, "paid"),
        ("manual", 1_000, "paid"),
    ]
    assert compile_jobs(world, 1_200).status_code == 201
    assert compile_jobs(world, 1).status_code == 403


def test_budget_cap_reached_and_notifying(world, mailoutbox):
    """Owners and admins are told at each threshold, once; nothing is refused, and all is billed."""
    world.subscribe()
    cap(world, 1_000, "notify")
    may_be_written_to(world)
    for jobs, percent in ((1_100, 50), (60, 80), (41, 100)):
        mailoutbox.clear()
        assert compile_jobs(world, jobs).status_code == 201
        for _ in range(2):
            quota_tasks.evaluate_budgets()
        subjects = {mail.subject for mail in mailoutbox}
        assert subjects == {f"Acme has reached {percent}% of its overage budget of this period"}
        to = sorted(mail.to[0] for mail in mailoutbox)
        assert to == ["admin@example.com", "owner@example.com"]
    world.to(utc(4, 5) + 2 * HOURS)
    assert world.invoices()[2] == ("usage", 1_005, "paid")
    assert world.at_stripe()[2] == ("manual", 1_005, "paid")
