from django.db import migrations

from spoke.core.tenancy import EnableRowLevelSecurity, ShareRows

# What is shared is told in docs/adr/0019. Functions, because their plans are kept: as sub-selects of the
# policies, with further policies in them, they would be planned anew with every statement. They run with
# the caller's rights, so that the policies of what they look at hold in them too.
FUNCTION = """
CREATE FUNCTION {name} RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN {condition};
END
$$
"""
# Of a public module, or one that this organization depends on.
SHARES_VERSION = """
    EXISTS (SELECT FROM registry_module m WHERE m.id = its_module AND m.is_public)
    OR EXISTS (
        SELECT FROM registry_versiondependency d
        WHERE d.org_id = NULLIF(current_setting('spoke.org_id', true), '')::bigint
          AND d.target_id = the_version)
"""
FUNCTIONS = {
    "registry_shares_version(the_version bigint, its_module bigint)": SHARES_VERSION,
    "registry_sees_version(the_version bigint)": (
        "EXISTS (SELECT FROM registry_version v WHERE v.id = the_version)"
    ),
    "registry_sees_file_with(the_blob bigint)": (
        "EXISTS (SELECT FROM registry_versionfile f WHERE f.blob_id = the_blob)"
    ),
    "registry_shares_module(the_owner bigint)": (
        "EXISTS (SELECT FROM registry_module m WHERE m.org_id = the_owner AND m.is_public)"
    ),
}
OF_ORG = "org_id = (SELECT NULLIF(current_setting('spoke.org_id', true), '')::bigint)"


class Migration(migrations.Migration):
    dependencies = [("registry", "0003_dependencies_and_yanking")]

    operations = [
        EnableRowLevelSecurity(
            # Who is depended upon sees by whom.
            "VersionDependency",
            using=f"{OF_ORG} OR target_{OF_ORG}",
            check=OF_ORG,
        ),
        *(
            migrations.RunSQL(
                FUNCTION.format(name=name, condition=condition), f"DROP FUNCTION {name}"
            )
            for name, condition in FUNCTIONS.items()
        ),
        ShareRows("Module", "is_public"),
        ShareRows("Version", "registry_shares_version(id, module_id)"),
        ShareRows("VersionDependency", "registry_sees_version(version_id)"),
        ShareRows("VersionFile", "registry_sees_version(version_id)"),
        ShareRows("Blob", "registry_sees_file_with(id)"),
        ShareRows("Organization", "registry_shares_module(id)", app_label="orgs"),
    ]
