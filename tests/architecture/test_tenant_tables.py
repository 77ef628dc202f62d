"""Every tenant table carries org_id and stands under forced row-level security."""

import pytest
from django.apps import apps
from django.db import connection

OURS = ("core", "orgs", "quotas", "registry", "billing")
# Tables that belong to no organization, each with its reason.
GLOBAL = {
    "orgs_user": "people exist apart from organizations",
    "orgs_user_groups": "Django's admin",
    "orgs_user_user_permissions": "Django's admin",
    "orgs_retiredname": "names whose organizations are gone",
    "quotas_plan": "the public catalogue",
    "quotas_planlimit": "the public catalogue",
    "quotas_planprice": "the public catalogue",
    "quotas_plancharge": "the public catalogue",
    "quotas_meter": "the public catalogue of meters",
    "quotas_rollupstate": "how far the rollup of all has come; holds no tenant data",
    "billing_stripeprice": "the public catalogue, at Stripe",
    "billing_webhookevent": "what Stripe tells us, before it is known of whom",
    "billing_numbersequence": "numbers follow each other over all organizations",
    "billing_taxrate": "what is public law",
    "billing_partner": "partners have many organizations",
    "billing_branding": "what partners' documents look like",
    "quotas_flushedgeneration": "spans organizations; holds no tenant data",
}
# The root of a tenant: its own id is the org_id.
ROOT = "orgs_organization"


def our_tables() -> set[str]:
    return {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label in OURS
    }


def test_every_table_is_a_tenants_or_named_as_global():
    with_org = {
        model._meta.db_table
        for model in apps.get_models()
        if any(field.column == "org_id" for field in model._meta.concrete_fields)
    }
    assert our_tables() - with_org - {ROOT} == set(GLOBAL)


@pytest.mark.django_db
def test_every_tenant_table_has_forced_row_level_security_and_policies():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relrowsecurity AND c.relforcerowsecurity"
            " AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid"
            "             AND p.polname IN ('tenant', 'tenant_read'))"
            " AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid"
            "             AND p.polname = 'door')"
        )
        protected = {name for (name,) in cursor.fetchall()}
        cursor.execute(
            "SELECT table_name FROM information_schema.columns"
            " WHERE column_name = 'org_id' AND table_schema = 'public'"
        )
        tenant = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        partitions = {name for (name,) in cursor.fetchall()}
    # Partitions can be read by their own names: they stand under policies like their table.
    assert len(partitions) >= 4
    assert protected == tenant | {ROOT}
    assert our_tables() - set(GLOBAL) == protected - partitions


@pytest.mark.django_db
def test_the_runtime_role_owns_nothing_and_bypasses_nothing():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == ("spoke_app", False, False)
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relowner = 'spoke_app'::regrole"
            " AND relnamespace <> pg_my_temp_schema()"  # what a session stages rows in is its own
        )
        assert cursor.fetchone() == (0,)
