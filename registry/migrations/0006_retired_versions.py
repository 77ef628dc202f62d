import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0002_row_level_security"),
        ("registry", "0005_compile_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetiredVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("module", models.CharField(max_length=100)),
                ("version", models.CharField(max_length=128)),
                ("sort_key", models.CharField(db_collation="C", max_length=512)),
                ("content", models.CharField(max_length=64)),
                ("deleted_at", models.DateTimeField()),
                ("org", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="orgs.organization")),
            ],
        ),
        migrations.AddConstraint(
            model_name="retiredversion",
            constraint=models.UniqueConstraint(fields=("org", "module", "sort_key"), name="registry_retiredversion_unique"),
        ),
        EnableRowLevelSecurity("RetiredVersion"),
    ]
