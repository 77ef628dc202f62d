import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity

# What is assigned already holds from its assignment on.
KEEP_ASSIGNMENTS = """
SELECT set_config('spoke.everything', 'on', true);
INSERT INTO quotas_planterm (org_id, plan_id, start)
SELECT org_id, plan_id, assigned_at FROM quotas_planassignment;
SELECT set_config('spoke.everything', '', true);
"""


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_row_level_security"), ("quotas", "0007_budgets")]

    operations = [
        migrations.AddField(
            model_name='quotasettings',
            name='period_anchor',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name='PlanTerm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start', models.DateTimeField()),
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='plan_terms', to='orgs.organization')),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.plan')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('org', 'start'), name='quotas_planterm_unique')],
            },
        ),
        EnableRowLevelSecurity("PlanTerm"),
        migrations.RunSQL(KEEP_ASSIGNMENTS, migrations.RunSQL.noop),
    ]
