import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_row_level_security")]

    operations = [
        migrations.AddField(
            "version", "is_prerelease", models.BooleanField(default=False), preserve_default=False
        ),
        migrations.AddField(
            "blob",
            "staged_at",
            models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AlterField(
            "versionfile",
            "blob",
            models.ForeignKey(
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="files",
                to="registry.blob",
            ),
        ),
        # The unique constraint's index serves the same order.
        migrations.RemoveIndex("version", "registry_version_newest"),
        migrations.AddConstraint(
            "version",
            models.UniqueConstraint(
                fields=("module", "sort_key"), name="registry_version_precedence_unique"
            ),
        ),
        migrations.AddIndex(
            "version",
            models.Index(
                fields=["module", "is_prerelease", "-sort_key"], name="registry_version_latest"
            ),
        ),
        migrations.AddIndex(
            "blob",
            models.Index(
                condition=models.Q(("references", 0)),
                fields=["staged_at"],
                name="registry_blob_abandoned",
            ),
        ),
    ]
