from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_card_warning"),
        ("orgs", "0003_staff_hold"),
    ]

    operations = [
        migrations.RemoveConstraint("dunningnotice", "billing_dunningnotice_once"),
        # A notice is of an organization. The column goes with the next release: this one's predecessor,
        # which may still run, writes it.
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField("dunningnotice", "subscription")],
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE billing_dunningnotice ALTER COLUMN subscription_id DROP NOT NULL",
                    migrations.RunSQL.noop,
                )
            ],
        ),
        migrations.AddField("invoice", "failed_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("invoice", "payment_url", models.TextField(blank=True, db_default="")),
        migrations.AddField("invoice", "prepaid_minor", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "invoice", "tried_with", models.CharField(blank=True, db_default="", max_length=255)
        ),
    ]
