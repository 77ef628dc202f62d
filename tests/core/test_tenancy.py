"""Row-level security: what a transaction sees is decided by the database."""

import pytest
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from orgs.models import Membership, Organization
from registry.models import Module
from spoke.core import tenancy
from tests.factories import ModuleFactory


@pytest.mark.django_db
def test_without_a_scope_no_row_is_visible(committed_cast):
    assert Organization.objects.count() == 0
    assert Membership.objects.count() == 0


def test_a_scope_sees_its_organization_only(committed_cast):
    cast = committed_cast
    with tenancy.all_organizations(reason="test"):
        ModuleFactory(org=cast.org)
        ModuleFactory(org=cast.other_org)
    with tenancy.organization(cast.org.pk):
        assert [m.org_id for m in Module.objects.all()] == [cast.org.pk]
        assert list(Organization.objects.all()) == [cast.org]
    assert Module.objects.count() == 0


def test_a_scope_cannot_write_into_another_organization(committed_cast):
    cast = committed_cast
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenancy.organization(cast.org.pk),
    ):
        ModuleFactory(org=cast.other_org)
    with tenancy.all_organizations(reason="test"):
        assert Module.objects.count() == 0


def test_a_person_sees_their_own_memberships(committed_cast):
    cast = committed_cast
    with tenancy.person(cast.admin.pk):
        assert [m.user_id for m in Membership.objects.all()] == [cast.admin.pk]
        assert list(Organization.objects.all()) == [cast.org]


def test_one_transaction_works_for_one_organization(committed_cast):
    cast = committed_cast
    with (
        tenancy.organization(cast.org.pk),
        pytest.raises(tenancy.TenancyError),
        tenancy.organization(cast.other_org.pk),
    ):
        pytest.fail("the scope of another organization opened")


def test_the_runtime_role_cannot_change_the_schema_or_its_policies(committed_cast):
    for statement in (
        "ALTER TABLE registry_module DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON registry_module",
        "TRUNCATE registry_module CASCADE",
        "CREATE TABLE mine (id int)",
    ):
        with (
            pytest.raises(ProgrammingError),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_reading_sees_its_organization_only_and_opens_no_transaction(committed_cast):
    cast = committed_cast
    with tenancy.all_organizations(reason="test"):
        ModuleFactory(org=cast.org, name="ours")
        ModuleFactory(org=cast.other_org, name="theirs")
    with tenancy.reading(tenancy.Scope(org_id=cast.org.pk)):
        assert [m.name for m in Module.objects.all()] == ["ours"]
        assert Module.objects.filter(name__contains="%").count() == 0
        assert connection.connection.info.transaction_status.name == "IDLE"
        with tenancy.person(cast.outsider.pk):
            assert list(Organization.objects.all()) == [cast.other_org]
            assert connection.connection.info.transaction_status.name == "INTRANS"
        assert [m.name for m in Module.objects.all()] == ["ours"]
    assert Module.objects.count() == 0


def test_what_writes_while_reading_opens_its_own_transaction_in_the_scope(committed_cast):
    cast = committed_cast
    with tenancy.reading(tenancy.Scope(org_id=cast.org.pk)):
        ModuleFactory(org=cast.org, name="ours")
        with transaction.atomic(), pytest.raises(ProgrammingError), transaction.atomic():
            ModuleFactory(org=cast.other_org)
        with (
            pytest.raises(tenancy.TenancyError),
            tenancy.organization(cast.other_org.pk),
        ):
            pytest.fail("the scope of another organization opened")
        with connection.cursor() as cursor, pytest.raises(tenancy.TenancyError):
            cursor.executemany("SELECT %s", [[1], [2]])
    with tenancy.all_organizations(reason="test"):
        assert [m.name for m in Module.objects.all()] == ["ours"]


def test_reading_inside_a_transaction_is_a_part_of_it(committed_cast):
    cast = committed_cast
    with tenancy.organization(cast.org.pk):
        ModuleFactory(org=cast.org, name="uncommitted")
        with tenancy.reading(tenancy.Scope(org_id=cast.org.pk)):
            assert Module.objects.count() == 1
        assert Module.objects.count() == 1


@pytest.mark.parametrize("secret", ["x", "' OR true", "AB"])
def test_only_a_digest_is_presented(committed_cast, secret):
    with pytest.raises(ValueError, match="digest"), tenancy.presenting(secret):
        pytest.fail("the scope opened")
    assert not connection.in_atomic_block
