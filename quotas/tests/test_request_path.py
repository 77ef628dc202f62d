"""The request path remembers who may do what, and acts on every change with the next request."""

import time
from datetime import timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis
from rest_framework.test import APIClient

from conftest import door
from orgs.context import SYSTEM, Actor
from orgs.models import ApiToken, Membership, Organization
from orgs.roles import Role, Scope
from orgs.services import grants, members, organizations
from orgs.services.people import touch_organizations_of
from orgs.services.tokens import create_personal_token, revoke_personal_token, revoke_service_token
from quotas.models import Plan
from quotas.resources import Resource
from quotas.services.limits import set_overrides
from quotas.services.plans import assign_plan
from spoke.core import tenancy

URL = "/orgs/acme"
STAFF = Actor("staff", None, "staff@example.com")


@pytest.fixture
def cast(committed_cast, settings):
    settings.PRINCIPAL_CACHE_SECONDS = 60
    grants.forget_all()
    call_command("seed_plans", verbosity=0)
    yield committed_cast
    grants.forget_all()


@pytest.fixture
def warm(cast):
    """`warm("developer")`: a client whose grant this process remembers."""

    def make(who: str, *scopes: Scope) -> APIClient:
        client = cast.client(who, *scopes)
        for _ in range(4):  # meets the slug, a connection, then the stamp, and is remembered
            assert client.get(URL).status_code == 200
        assert governing_queries(client) == []
        return client

    return make


def governing_queries(client: APIClient) -> list[str]:
    """The statements of a read of the organization, without the handler's own and its transaction's."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(URL).status_code == 200
    statements = [part for query in captured for part in query["sql"].split(";") if part]
    handlers = [
        s for s in statements if 'INNER JOIN "orgs_user"' in s and "orgs_membership" not in s
    ]
    assert len(handlers) == 1
    skipped = ("BEGIN", "COMMIT", "SELECT set_config")
    return [s for s in statements if s not in handlers and not s.startswith(skipped)]


def used(client: APIClient) -> int:
    return int(client.get(URL).headers["X-RateLimit-Remaining"])


def test_a_warm_request_asks_the_database_for_its_handler_only_and_is_counted(warm):
    client = warm("developer")
    before = used(client)
    assert used(client) == before - 1


def test_without_the_memory_every_request_is_looked_up(cast, settings):
    settings.PRINCIPAL_CACHE_SECONDS = 0
    client = cast.client("developer")
    for _ in range(4):
        assert client.get(URL).status_code == 200
    assert governing_queries(client) != []


def change_role(cast, who: str, role: Role) -> None:
    with tenancy.organization(cast.org.pk):
        members.change_role(
            org=cast.org,
            context_role=Role.OWNER,
            actor=SYSTEM,
            user_id=getattr(cast, who).pk,
            role=role,
            now=timezone.now(),
        )


def test_a_revoked_personal_token_stops_with_the_next_request(cast, warm):
    client = warm("developer")
    with tenancy.person(cast.developer.pk):
        token = ApiToken.objects.get(user=cast.developer)
        revoke_personal_token(user=cast.developer, token_id=token.pk, now=timezone.now())
    answer = client.get(URL)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_a_revoked_service_token_stops_with_the_next_request(cast, warm):
    body = {"name": "ci", "role": "viewer", "scopes": ["read"]}
    made = cast.client("owner").post(f"{URL}/tokens", body, format="json").json()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made['token']}")
    for _ in range(3):
        assert client.get(URL).status_code == 200
    assert governing_queries(client) == []
    with tenancy.organization(cast.org.pk):
        revoke_service_token(
            org_id=cast.org.pk, actor=SYSTEM, token_id=made["id"], now=timezone.now()
        )
    assert client.get(URL).status_code == 401


def test_a_removed_member_is_an_outsider_with_the_next_request(cast, warm):
    client = warm("developer")
    with tenancy.organization(cast.org.pk):
        members.remove_member(
            org=cast.org,
            context_role=Role.OWNER,
            actor=SYSTEM,
            user_id=cast.developer.pk,
            now=timezone.now(),
        )
    assert client.get(URL).status_code == 404
    assert client.post(f"{URL}/modules", {"name": "m"}, format="json").status_code == 404


def test_a_lowered_role_bounds_the_next_request(cast, warm):
    client = warm("developer")
    change_role(cast, "developer", Role.VIEWER)
    answer = client.post(f"{URL}/modules", {"name": "m"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_a_raised_role_serves_the_next_request(cast, warm):
    client = warm("viewer")
    change_role(cast, "viewer", Role.DEVELOPER)
    assert client.post(f"{URL}/modules", {"name": "m"}, format="json").status_code == 201


def test_a_refusal_is_looked_up_and_not_counted(warm):
    client = warm("viewer")
    before = used(client)
    answer = client.post(f"{URL}/modules", {"name": "m"}, format="json")
    assert answer.status_code == 403
    assert used(client) == before - 1


def test_a_suspension_acts_on_the_next_request_and_so_does_its_end(cast, warm):
    client = warm("developer")
    with tenancy.organization(cast.org.pk):
        organizations.suspend_organization(
            org=cast.org, actor=STAFF, reason="unpaid", now=timezone.now()
        )
    answer = client.post(f"{URL}/modules", {"name": "m"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "organization_suspended")
    assert client.get(URL).json()["status"] == "suspended"
    with tenancy.organization(cast.org.pk):
        organizations.reactivate_organization(org=cast.org, actor=STAFF, now=timezone.now())
    assert client.post(f"{URL}/modules", {"name": "m"}, format="json").status_code == 201


def test_a_closed_organization_is_gone_with_the_next_request(cast, warm):
    client = warm("developer")
    assert cast.client("owner").delete(URL).status_code == 200
    assert client.get(URL).status_code == 404


def test_a_limit_acts_on_the_next_request(cast, warm):
    client = warm("developer")
    with tenancy.organization(cast.org.pk):
        set_overrides(
            org_id=cast.org.pk,
            actor=STAFF,
            limits={Resource.API_REQUESTS: 3},
            now=timezone.now(),
        )
    answer = client.get(URL)
    assert answer.status_code == 429
    assert answer.headers["RateLimit-Policy"] == '"hour";q=3;w=3600'


def test_a_plan_acts_on_the_next_request(cast, warm):
    client = warm("developer")
    with tenancy.organization(cast.org.pk):
        plan = Plan.objects.current().get(code="pro")
        assign_plan(org_id=cast.org.pk, plan=plan, actor=SYSTEM, now=timezone.now())
    assert client.get(URL).headers["RateLimit-Policy"] == '"hour";q=10000;w=3600'


def test_a_disabled_person_stops_with_the_next_request(cast, warm):
    client = warm("developer")
    with door():
        cast.developer.is_active = False
        cast.developer.save()
        touch_organizations_of(user=cast.developer)
    assert client.get(URL).status_code == 401


def test_an_expired_token_stops_at_its_time(cast):
    now = timezone.now()
    with tenancy.person(cast.developer.pk):
        _, raw = create_personal_token(
            user=cast.developer,
            name="short",
            scopes=[Scope.READ],
            now=now,
            expires_at=now + timedelta(seconds=30),
        )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    for _ in range(4):
        assert client.get(URL).status_code == 200
    assert governing_queries(client) == []
    with time_machine.travel(now + timedelta(seconds=30), tick=False):
        assert client.get(URL).status_code == 401


def test_an_override_that_expires_is_not_remembered_beyond_its_time(cast, warm):
    now = timezone.now()
    with tenancy.organization(cast.org.pk):
        set_overrides(
            org_id=cast.org.pk,
            actor=STAFF,
            limits={Resource.API_REQUESTS: 50},
            expires_at=now + timedelta(seconds=20),
            now=now,
        )
    client = warm("developer")
    assert client.get(URL).headers["X-RateLimit-Limit"] == "50"
    with time_machine.travel(now + timedelta(seconds=20), tick=False):
        assert client.get(URL).headers["X-RateLimit-Limit"] == "1000"


def test_a_change_between_the_sighting_and_the_loading_is_not_lost(cast, monkeypatch):
    client = cast.client("developer")
    for _ in range(2):
        client.get(URL)
    grants.forget_all()
    client.get(URL)  # meets the slug
    loaded = grants.remember

    def remember(**kwargs):
        change_role(cast, "developer", Role.VIEWER)
        return loaded(**kwargs)

    monkeypatch.setattr("orgs.api.base.remember", remember)
    assert client.get(URL).status_code == 200
    monkeypatch.undo()
    assert client.post(f"{URL}/modules", {"name": "m"}, format="json").status_code == 403


def test_what_a_handler_does_to_its_organization_is_not_remembered(cast, warm):
    client = warm("owner")
    answer = client.patch(URL, {"display_name": "x" * 500}, format="json")
    assert answer.status_code == 400
    assert client.get(URL).json()["display_name"] == "Acme"


def test_with_valkey_away_nothing_remembered_is_relied_upon(cast, own_valkey, warm):
    client = warm("developer")
    own_valkey.stop()
    with door():
        ApiToken.objects.filter(user=cast.developer).update(revoked_at=timezone.now())
    assert client.get(URL).status_code == 401


def test_after_valkey_forgot_its_stamps_nothing_remembered_is_relied_upon(cast, own_valkey, warm):
    client = warm("developer")
    assert Redis.from_url(own_valkey.url).keys("*stamp*") == []
    own_valkey.stop()
    with door():
        Membership.objects.filter(user=cast.developer).delete()
    own_valkey.start()
    assert client.get(URL).status_code == 404


def test_the_memory_ends_after_its_time(cast, warm, monkeypatch):
    client = warm("developer")
    with door():
        Organization.objects.filter(pk=cast.org.pk).update(display_name="Behind the back")
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert governing_queries(client) != []


def test_outsiders_and_visiting_staff_are_never_remembered(cast):
    for who, status in (("outsider", 404), ("staff", 200)):
        client = cast.client(who)
        for _ in range(4):
            assert client.get(URL).status_code == status
    assert len(grants._grants._items) == 0
