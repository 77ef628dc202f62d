from django.db import migrations

from spoke.core.tenancy import BY_SECRET, OF_ORG, OF_USER, EnableRowLevelSecurity

# The root of a tenant has its id for an org_id; members see the organizations that they belong to.
# A function, because its plan is kept: as a sub-select of the policy, with the policies of memberships
# in it, it would be planned anew with every statement, and take most of the planning.
IS_OWN = """
CREATE FUNCTION orgs_is_own(organization bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM orgs_membership m
        WHERE m.org_id = organization
          AND m.user_id = NULLIF(current_setting('spoke.user_id', true), '')::bigint);
END
$$
"""
THIS_ORGANIZATION = "id = (SELECT NULLIF(current_setting('spoke.org_id', true), '')::bigint)"
A_PERSON = "(SELECT NULLIF(current_setting('spoke.user_id', true), '') IS NOT NULL)"
OWN_ORGANIZATION = f"{THIS_ORGANIZATION} OR {A_PERSON} AND orgs_is_own(id)"


class Migration(migrations.Migration):
    dependencies = [("orgs", "0001_initial")]

    operations = [
        migrations.RunSQL(IS_OWN, "DROP FUNCTION orgs_is_own(bigint)"),
        EnableRowLevelSecurity("Organization", using=OWN_ORGANIZATION, check=THIS_ORGANIZATION),
        EnableRowLevelSecurity("Membership", using=f"{OF_ORG} OR {OF_USER}", check=OF_ORG),
        EnableRowLevelSecurity("OwnershipTransfer"),
        EnableRowLevelSecurity("Invitation", using=f"{OF_ORG} OR {BY_SECRET}", check=OF_ORG),
        EnableRowLevelSecurity("ApiToken", using=f"{OF_ORG} OR {OF_USER} OR {BY_SECRET}"),
        EnableRowLevelSecurity("AuditEvent", append_only=True),
    ]
