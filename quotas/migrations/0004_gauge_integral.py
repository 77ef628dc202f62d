import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity

# The hourly levels that were kept become changes at the start of their hour; a level that was never
# written down counts from now on. The policies bind the owner too, so the door is opened.
CONVERT = """
SELECT set_config('spoke.everything', 'on', true);
INSERT INTO quotas_gaugechange (org_id, resource, at, used, integral)
SELECT org_id, resource, hour, used,
       COALESCE(sum(stood) OVER (PARTITION BY org_id, resource ORDER BY hour), 0)
FROM (
    SELECT org_id, resource, hour, used,
           lag(used) OVER earlier * EXTRACT(epoch FROM hour - lag(hour) OVER earlier) AS stood
    FROM quotas_usagebucket WHERE resource IN ('modules', 'versions', 'storage')
    WINDOW earlier AS (PARTITION BY org_id, resource ORDER BY hour)
) AS levels;
DELETE FROM quotas_usagebucket WHERE resource IN ('modules', 'versions', 'storage');
UPDATE quotas_usagegauge AS g SET integral = c.integral, changed_at = c.at
FROM (SELECT DISTINCT ON (org_id, resource) * FROM quotas_gaugechange ORDER BY org_id, resource, at DESC) AS c
WHERE g.subject = 0 AND g.org_id = c.org_id AND g.resource = c.resource;
INSERT INTO quotas_gaugechange (org_id, resource, at, used, integral)
SELECT org_id, resource, changed_at, used, 0 FROM quotas_usagegauge WHERE subject = 0
ON CONFLICT DO NOTHING;
SELECT set_config('spoke.everything', '', true);
"""


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_row_level_security"), ("quotas", "0003_metering")]

    operations = [
        migrations.AddField(
            model_name='periodusage',
            name='integral',
            field=models.DecimalField(decimal_places=6, max_digits=60, null=True),
        ),
        migrations.AddField(
            model_name='usagegauge',
            name='changed_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddField(
            model_name='usagegauge',
            name='integral',
            field=models.DecimalField(db_default=0, decimal_places=6, max_digits=60),
        ),
        migrations.CreateModel(
            name='GaugeChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('resource', models.CharField(choices=[('modules', 'modules'), ('versions', 'versions'), ('storage', 'storage'), ('compile_jobs', 'compile_jobs'), ('api_requests', 'api_requests')], max_length=16)),
                ('at', models.DateTimeField()),
                ('used', models.BigIntegerField()),
                ('integral', models.DecimalField(decimal_places=6, max_digits=60)),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
            ],
            options={
                'indexes': [django.contrib.postgres.indexes.BrinIndex(fields=['at'], name='quotas_gaugechange_at')],
                'constraints': [models.UniqueConstraint(fields=('org', 'resource', 'at'), name='quotas_gaugechange_unique'), models.CheckConstraint(condition=models.Q(('used__gte', 0)), name='quotas_gaugechange_positive')],
            },
        ),
        EnableRowLevelSecurity("GaugeChange"),
        migrations.RunSQL(CONVERT, migrations.RunSQL.noop),
    ]
