"""Fixtures of every test: real servers, the runtime role, a fixed cast and API clients."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from redis import Redis
from rest_framework.test import APIClient

from orgs.models import Organization, User
from orgs.roles import Scope
from orgs.services.tokens import create_personal_token
from spoke.core import tenancy
from tests.devservers.stripe.shapes import FIXTURES
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

ROLES = ("owner", "admin", "developer", "viewer", "outsider", "staff")


def pytest_report_header() -> str:
    """Says what the stand-in for Stripe is held against."""
    held = f"and {FIXTURES}" if FIXTURES.exists() else f"alone: {FIXTURES} is absent"
    return f"stripe shapes: the SDK's classes {held}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings):
    """Creating a database is the owner's work: the runtime role is assumed only afterwards."""
    connection.settings_dict["OPTIONS"].pop("assume_role", None)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    """Every test runs under the runtime role, which row-level security binds."""
    connection.close()
    connection.settings_dict["OPTIONS"]["assume_role"] = settings.DATABASE_ROLE
    yield
    connection.settings_dict["OPTIONS"].pop("assume_role")
    connection.close()


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    """Each test starts with empty limits and caches; each xdist worker has its own databases."""
    yield
    Redis.from_url(settings.REDIS_URL).flushdb()
    cache.clear()


def door() -> AbstractContextManager[None]:
    """For a test's own set-up and checks in its own transaction."""
    return tenancy.all_organizations(reason="test", actor="test")


@dataclass(frozen=True)
class Cast:
    """Six people and two organizations: `org` has the first four, `other_org` the outsider."""

    org: Organization
    other_org: Organization
    owner: User
    admin: User
    developer: User
    viewer: User
    outsider: User
    staff: User

    def token(self, who: str, *scopes: Scope) -> str:
        """A personal token of that person (scope admin unless said)."""
        user: User = getattr(self, who)
        with tenancy.person(user.pk):
            _, raw = create_personal_token(
                user=user, name="test", scopes=list(scopes) or [Scope.ADMIN], now=timezone.now()
            )
        return raw

    def client(self, who: str, *scopes: Scope) -> APIClient:
        """An API client with a personal token of that person."""
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.token(who, *scopes)}")
        return client


def make_cast() -> Cast:
    """Writes the cast; call it behind the door."""
    people: dict[str, Any] = {
        role: UserFactory(email=f"{role}@example.com", is_staff=role == "staff") for role in ROLES
    }
    org: Any = OrganizationFactory(name="acme", owner=people["owner"])
    for role in ("admin", "developer", "viewer"):
        MembershipFactory(org=org, user=people[role], role=role)
    other_org: Any = OrganizationFactory(name="rival", owner=people["outsider"])
    return Cast(org=org, other_org=other_org, **people)


@pytest.fixture
def cast(db: None) -> Iterator[Cast]:
    """The cast, with the door open for the test's own queries (not for the code under test)."""
    with door():
        yield make_cast()


@pytest.fixture
def committed_cast(transactional_db: None) -> Cast:
    """The cast, committed, for tests with real threads; open `door()` to look at rows."""
    with door():
        return make_cast()


@pytest.fixture
def api(cast: Cast) -> Callable[..., APIClient]:
    """`api("owner")` is a client signed in as the owner."""
    return cast.client
