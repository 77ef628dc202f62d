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
