"""Plans are published as versions, and assigned."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from conftest import door
from orgs.context import SYSTEM
from orgs.models import AuditEvent, Organization
from quotas.errors import PlansMissing
from quotas.models import Plan, PlanAssignment, PlanCharge, PlanLimit, PlanPrice
from quotas.resources import Resource
from quotas.services.meters import read_meters
from quotas.services.plan_file import PLAN_FILE, read_plans
from quotas.services.plans import PlanDefinition, assign_plan, definition_of, plan_of, publish_plan
from quotas.tests.conftest import NOW
from quotas.tests.threads import at_once


def seed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("seed_plans", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def dearer(tmp_path):
    """The shipped file with another price of pro and another number of free modules."""
    path = tmp_path / "dearer.toml"
    text = PLAN_FILE.read_text().replace("modules = 5\n", "modules = 6\n")
    path.write_text(text.replace("usd = { month = 4900,", "usd = { month = 5900,"))
    return f"--file={path}"


@pytest.mark.django_db
def test_seeding_publishes_every_plan_as_the_file_defines_it():
    assert seed().splitlines() == [
        "free: published version 1",
        "pro: published version 1",
        "enterprise: published version 1",
        "custom: published version 1",
        *(f"meter {meter.code}: new" for meter in read_meters()),
    ]
    for definition in read_plans():
        plan = Plan.objects.get(code=definition.code)
        assert definition_of(plan).facts() == definition.facts()
        assert plan.digest == definition.digest
    assert (PlanLimit.objects.count(), PlanPrice.objects.count()) == (20, 12)
    assert PlanCharge.objects.count() == 12


@pytest.mark.django_db
def test_seeding_again_changes_nothing():
    seed()
    before = list(Plan.objects.order_by("pk").values())
    assert seed().splitlines() == [
        f"{code}: unchanged" for code in ("free", "pro", "enterprise", "custom")
    ]
    assert list(Plan.objects.order_by("pk").values()) == before


@pytest.mark.django_db
def test_a_dry_run_says_what_would_change_and_changes_nothing(dearer):
    assert seed("--dry-run").splitlines()[0] == "free: would publish a new version"
    assert Plan.objects.count() == 0
    seed()
    assert seed("--dry-run", dearer).splitlines() == [
        "free: would publish a new version",
        "  limits.modules: 5 -> 6",
        "pro: would publish a new version",
        "  prices.usd.month: 4900 -> 5900",
        "enterprise: unchanged",
        "custom: unchanged",
    ]
    assert Plan.objects.count() == 4


def test_a_changed_plan_is_a_new_version_and_assignments_keep_theirs(cast, plans, dearer):
    pro = Plan.objects.get(code="pro")
    assign_plan(org_id=cast.org.pk, plan=pro, actor=SYSTEM, now=NOW)
    assert seed(dearer).splitlines()[:3] == [
        "free: published version 2",
        "  limits.modules: 5 -> 6",
        "pro: published version 2",
    ]
    pro.refresh_from_db()
    assert (pro.version, pro.superseded_at is None) == (1, False)
    current = Plan.objects.current().get(code="pro")
    assert current.version == 2
    assert current.prices.get(currency="usd", interval="month").amount_minor == 5_900
    assert pro.prices.get(currency="usd", interval="month").amount_minor == 4_900
    assert plan_of(org_id=cast.org.pk) == pro
    # Whoever was never given a plan has the current free one.
    assert plan_of(org_id=cast.other_org.pk) == Plan.objects.get(code="free", version=2)


@pytest.mark.django_db
def test_a_mistake_in_the_file_publishes_nothing(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(PLAN_FILE.read_text().replace('code = "enterprise"', 'code = "Enterprise"'))
    with pytest.raises(CommandError, match="plan number 3: code is missing or no slug"):
        seed(f"--file={path}")
    assert Plan.objects.count() == 0


def test_seeding_at_once_publishes_each_version_once(transactional_db):
    outputs, errors = at_once(4, lambda _: seed())
    assert errors == []
    assert sorted(Plan.objects.values_list("code", "version")) == [
        ("custom", 1),
        ("enterprise", 1),
        ("free", 1),
        ("pro", 1),
    ]
    assert sorted("unchanged" in output for output in outputs) == [False, True, True, True]


@pytest.mark.django_db
def test_a_plan_limits_every_resource():
    with pytest.raises(ValueError, match="plan odd: no limit for api_requests"):
        publish_plan(definition=PlanDefinition(code="odd", name="Odd", limits={}), now=NOW)
    assert Plan.objects.count() == 0


def test_before_seeding_there_is_a_clear_error(cast):
    with pytest.raises(PlansMissing, match=r"run `manage\.py seed_plans`"):
        plan_of(org_id=cast.org.pk)


def test_assigning_sets_the_tier_and_is_audited(cast, plans):
    pro = Plan.objects.get(code="pro")
    assignment = assign_plan(org_id=cast.org.pk, plan=pro, actor=SYSTEM, now=NOW)
    assert (assignment.plan_id, assignment.assigned_at) == (pro.pk, NOW)
    assert plan_of(org_id=cast.org.pk) == pro
    assert Organization.objects.get(pk=cast.org.pk).plan_tier == "pro"
    event = AuditEvent.objects.get(action="plan.assigned")
    assert (event.org_id, event.actor_kind, event.at) == (cast.org.pk, "system", NOW)
    assert (event.target_type, event.target_id) == ("plan", str(pro.pk))
    assert event.data == {"old": "free", "new": "pro v1"}
    assert plan_of(org_id=cast.other_org.pk).code == "free"


def test_assigning_the_same_plan_again_changes_nothing(cast, plans):
    pro = Plan.objects.get(code="pro")
    first = assign_plan(org_id=cast.org.pk, plan=pro, actor=SYSTEM, now=NOW)
    later = NOW + timedelta(days=1)
    again = assign_plan(org_id=cast.org.pk, plan=pro, actor=SYSTEM, now=later)
    assert (again.pk, again.assigned_at) == (first.pk, NOW)
    assert AuditEvent.objects.filter(action="plan.assigned").count() == 1


def test_moving_to_another_plan_keeps_one_assignment(cast, plans):
    for code in ("pro", "enterprise", "free"):
        plan = Plan.objects.get(code=code)
        assign_plan(org_id=cast.org.pk, plan=plan, actor=SYSTEM, now=NOW)
    assert PlanAssignment.objects.get(org=cast.org).plan.code == "free"
    assert Organization.objects.get(pk=cast.org.pk).plan_tier == "free"
    moves = AuditEvent.objects.filter(action="plan.assigned").order_by("pk")
    assert [event.data for event in moves] == [
        {"old": "free", "new": "pro v1"},
        {"old": "pro v1", "new": "enterprise v1"},
        {"old": "enterprise v1", "new": "free v1"},
    ]


def test_two_assignments_at_once_leave_one(committed_cast, transactional_db):
    seed()
    org_id, codes = committed_cast.org.pk, ("pro", "enterprise")

    def assign(index: int) -> None:
        with door():
            plan = Plan.objects.get(code=codes[index])
            assign_plan(org_id=org_id, plan=plan, actor=SYSTEM, now=NOW)

    _, errors = at_once(2, assign)
    assert errors == []
    with door():
        plan = PlanAssignment.objects.get(org_id=org_id).plan
        assert Organization.objects.get(pk=org_id).plan_tier == plan.code
        assert AuditEvent.objects.filter(org_id=org_id, action="plan.assigned").count() == 2
    assert set(plan.limits.values_list("resource", flat=True)) == set(Resource)
