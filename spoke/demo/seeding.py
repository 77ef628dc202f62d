"""Seeds the demo organizations through the services. Each step can be repeated and changes nothing."""

from collections import Counter
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.conf import settings

from billing.models import InvoiceStatus, Subscription
from billing.services import invoicing, subscriptions
from orgs.context import Actor
from orgs.models import ApiToken, Membership, Organization, User
from orgs.roles import Role, Scope
from orgs.services.members import add_member
from orgs.services.organizations import create_organization
from orgs.services.tokens import create_personal_token, resolve_token, revoke_personal_token
from quotas.models import PeriodUsage, Plan, UsagePeriod
from quotas.resources import Resource
from quotas.services.flush import write_generation
from quotas.services.ingestion import ingest_events
from quotas.services.periods import current_period
from quotas.services.usage import (
    CLOSE_GRACE,
    add_to_meters,
    close_period,
    due_periods,
    keep_open,
)
from registry.files import Push, PushedFile
from registry.models import Module, Version
from registry.services.modules import create_module
from registry.services.pushing import prepare_push
from registry.services.versions import publish_version
from spoke.core import tenancy
from spoke.demo import content, usage
from spoke.demo.content import Person, Release

MONTHS = 12
TOKENS = {
    "TOKEN": content.OWNER,
    "ADMIN_TOKEN": content.STAFF,
    "DEV_TOKEN": content.DEVELOPER,
    "SECOND_USER_TOKEN": content.SECOND,
    "OUTSIDER_TOKEN": content.RIVAL,
}


def seed(*, known: dict[str, str], now: datetime) -> dict[str, str]:
    """The demo is complete; returns what a script needs, keeping the tokens of `known` that work."""
    people = {person.key: _person(person) for person in content.PEOPLE}
    start = usage.first_of_month(now, MONTHS)
    owner, rival = people[content.OWNER.key], people[content.RIVAL.key]
    org = _organization(owner, content.ORGANIZATION, start)
    _organization(rival, content.OTHER_ORGANIZATION, start)
    actor = Actor("user", owner.pk, owner.email, owner)
    with tenancy.organization(org.pk):
        _team(org, actor, people, start)
        _subscription(org, actor, start, now)
    for release in content.RELEASES:
        _release(org, actor, release, start, now)
    _usage(org, start, now)
    with tenancy.organization(org.pk):
        _invoices(org, actor, now)
    return {
        "API_URL": settings.SPOKE_BASE_URL,
        "ORG_ID": str(org.pk),
        "ORG_NAME": org.name,
        **{name: _token(people[who.key], known.get(name, ""), now) for name, who in TOKENS.items()},
        "SECOND_USER_EMAIL": content.SECOND.email,
        "ADMIN_LOGIN": content.STAFF.email,
        "ADMIN_PASSWORD": content.PASSWORD,
        "OWNER_LOGIN": content.OWNER.email,
        "OWNER_PASSWORD": content.PASSWORD,
    }


def _person(person: Person) -> User:
    user = User.objects.filter(email=person.email).first()
    if user is None:
        user = User.objects.create_user(
            person.email,
            content.PASSWORD,
            name=person.name,
            is_staff=person.is_staff,
            is_superuser=person.is_staff,
        )
    EmailAddress.objects.get_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )
    return user


def _organization(owner: User, described: tuple[str, str, str], start: datetime) -> Organization:
    name, display_name, description = described
    with tenancy.person(owner.pk):
        found = Organization.objects.filter(name=name).first()
    if found is not None:
        return found
    with tenancy.person(owner.pk):
        return create_organization(
            user=owner, name=name, display_name=display_name, description=description, now=start
        )


def _team(org: Organization, actor: Actor, people: dict[str, User], start: datetime) -> None:
    present = set(Membership.objects.filter(org=org).values_list("user_id", flat=True))
    for person in content.PEOPLE:
        user = people[person.key]
        if person.role and user.pk not in present:
            add_member(
                org=org,
                context_role=Role.OWNER,
                actor=actor,
                user=user,
                role=Role(person.role),
                now=start,
            )


def _release(
    org: Organization, actor: Actor, release: Release, start: datetime, now: datetime
) -> None:
    at = min(start + timedelta(days=release.day, hours=10), now)
    with tenancy.organization(org.pk):
        if not Module.objects.filter(org=org, name=release.module).exists():
            create_module(
                org_id=org.pk,
                actor=actor,
                name=release.module,
                description=release.description,
                is_public=release.module == "common",
                now=at,
            )
        published = Version.objects.filter(
            org=org, module__name=release.module, version=release.version
        )
        if published.exists():
            return
    files = tuple(PushedFile(path, text.encode()) for path, text in release.files)
    push = Push(release.version, release.description, files)
    # Announced at the present time: what was announced long ago may have been swept.
    checked = prepare_push(org_id=org.pk, module_name=release.module, push=push, now=now)
    with tenancy.organization(org.pk):
        publish_version(
            org_id=org.pk, actor=actor, module_name=release.module, checked=checked, now=at
        )


def _usage(org: Organization, start: datetime, now: datetime) -> None:
    counts = {(org.pk, hour): n for hour, n in usage.api_requests(start, now).items()}
    write_generation(generation=f"demo:{org.pk}", counts=counts, now=now)
    with tenancy.organization(org.pk):
        jobs = PeriodUsage.objects.filter(org=org, resource=Resource.COMPILE_JOBS)
        if not jobs.exists():
            _compile_jobs(org, start, now)
        ingest_events(org_id=org.pk, events=usage.events(now), now=now)
        for period_id, org_id in due_periods(now=now):
            close_period(period_id=period_id, org_id=org_id, now=now)


def _compile_jobs(org: Organization, start: datetime, now: datetime) -> None:
    """All at once: one by one they would take longer than the rest of the demo."""
    hours: dict[tuple[Resource, datetime], int] = {}
    periods: Counter[tuple[Resource, int]] = Counter()
    ids: dict[datetime, int] = {}
    for at, number in usage.compile_jobs(start, now):
        month = at.replace(day=1, hour=0)
        if month not in ids:
            period = current_period(org_id=org.pk, now=at)
            keep_open(period)
            ids[month] = period.pk
        hours[Resource.COMPILE_JOBS, at] = number
        periods[Resource.COMPILE_JOBS, ids[month]] += number
    add_to_meters(org_id=org.pk, periods=periods, hours=hours)


def _subscription(org: Organization, actor: Actor, start: datetime, now: datetime) -> None:
    """A year on pro, but for a busy spell on enterprise: dearer at once, cheaper from a month's end."""
    if not Subscription.objects.filter(org=org).exists():
        subscriptions.start_subscription(
            org_id=org.pk,
            plan=_plan("pro"),
            interval="month",
            currency="usd",
            actor=actor,
            now=start,
        )
        for code, month, day in content.CHANGES_OF_PLAN:
            at = usage.first_of_month(start, -month) + timedelta(days=day, hours=10)
            _turn(org, at)
            subscriptions.change_plan(org_id=org.pk, plan=_plan(code), actor=actor, now=at)
    _turn(org, now)


def _turn(org: Organization, until: datetime) -> None:
    while subscriptions.turn_subscription(org_id=org.pk, now=until):
        pass  # a month at a time


def _plan(code: str) -> Plan:
    return Plan.objects.current().get(code=code)


def _invoices(org: Organization, actor: Actor, now: datetime) -> None:
    """Of every month that is over; one is void, the others are paid, so that nothing is overdue."""
    closed = UsagePeriod.objects.for_org(org.pk).filter(closed_at__isnull=False).order_by("start")
    for number, period in enumerate(closed):
        at = period.end + CLOSE_GRACE
        invoice = invoicing.generate_invoice(org_id=org.pk, period_start=period.start, now=at)
        if invoice.status != InvoiceStatus.OPEN:
            continue
        void = number == content.VOID_MONTH
        invoicing.settle_invoice(
            org_id=org.pk,
            invoice_id=invoice.pk,
            status=InvoiceStatus.VOID if void else InvoiceStatus.PAID,
            actor=actor,
            now=at + timedelta(days=3),
            note=content.VOID_NOTE if void else "Bank transfer",
        )


def _token(user: User, known: str, now: datetime) -> str:
    principal = resolve_token(raw=known, now=now)
    if principal is not None and principal.user == user:
        return known
    with tenancy.person(user.pk):
        for old in ApiToken.objects.usable(now).filter(user=user, name="demo"):
            revoke_personal_token(user=user, token_id=old.pk, now=now)
        _, raw = create_personal_token(user=user, name="demo", scopes=[Scope.ADMIN], now=now)
    return raw
