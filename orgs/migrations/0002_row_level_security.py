from django.db import migrations

from spoke.core.tenancy import BY_SECRET, OF_ORG, OF_USER, EnableRowLevelSecurity

# The root of a tenant has its id for an org_id; members see the organizations that they belong to.
THIS_ORGANIZATION = "id = (SELECT NULLIF(current_setting('spoke.org_id', true), '')::bigint)"
OWN_ORGANIZATION = (
    f"{THIS_ORGANIZATION} OR EXISTS (SELECT 1 FROM orgs_membership m WHERE m.org_id = orgs_organization.id"
    f" AND m.{OF_USER})"
)


class Migration(migrations.Migration):
    dependencies = [("orgs", "0001_initial")]

    operations = [
        EnableRowLevelSecurity("Organization", using=OWN_ORGANIZATION, check=THIS_ORGANIZATION),
        EnableRowLevelSecurity("Membership", using=f"{OF_ORG} OR {OF_USER}", check=OF_ORG),
        EnableRowLevelSecurity("OwnershipTransfer"),
        EnableRowLevelSecurity("Invitation", using=f"{OF_ORG} OR {BY_SECRET}", check=OF_ORG),
        EnableRowLevelSecurity("ApiToken", using=f"{OF_ORG} OR {OF_USER} OR {BY_SECRET}"),
        EnableRowLevelSecurity("AuditEvent", append_only=True),
    ]
