from django.db import migrations

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [
        EnableRowLevelSecurity(model) for model in ("Module", "Version", "Blob", "VersionFile")
    ]
