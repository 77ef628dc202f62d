import django.db.models.deletion
from django.db import migrations, models

# The index first, beside whatever is written meanwhile; then it is the constraint.
INDEX = """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS billing_dunningnotice_once
ON billing_dunningnotice (org_id, past_due_since, day)
"""
CONSTRAINT = """
ALTER TABLE billing_dunningnotice
ADD CONSTRAINT billing_dunningnotice_once UNIQUE USING INDEX billing_dunningnotice_once
"""
NO_CONSTRAINT = "ALTER TABLE billing_dunningnotice DROP CONSTRAINT billing_dunningnotice_once"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("billing", "0006_trial_start"),
        ("orgs", "0003_staff_hold"),
    ]

    operations = [
        migrations.AlterField(
            "dunningnotice",
            "org",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="orgs.organization",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint(
                    "dunningnotice",
                    models.UniqueConstraint(
                        fields=("org", "past_due_since", "day"), name="billing_dunningnotice_once"
                    ),
                )
            ],
            database_operations=[
                migrations.RunSQL(INDEX, migrations.RunSQL.noop),
                migrations.RunSQL(CONSTRAINT, NO_CONSTRAINT),
            ],
        ),
    ]
