from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0002_row_level_security")]

    operations = [
        migrations.AddField(
            model_name="idempotencyrecord",
            name="response_headers",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
