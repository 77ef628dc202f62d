from django.db import migrations

from spoke.core.tenancy import OF_ORG, OF_USER, EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        EnableRowLevelSecurity(
            "IdempotencyRecord", using=f"({OF_ORG}) OR (org_id IS NULL AND {OF_USER})"
        ),
    ]
