import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity

# Whose usage changed lately is read from the index alone. A bucket's hour never changes, so adding to
# one stays free of index writes.
LATELY = "CREATE INDEX quotas_usagebucket_lately ON quotas_usagebucket (hour, org_id)"


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0002_row_level_security"),
        ("quotas", "0005_holds"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AlertSettings',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('thresholds', models.JSONField(blank=True, default=dict)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('updated_at', models.DateTimeField()),
                ('org', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='alert_settings', to='orgs.organization')),
            ],
        ),
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('resource', models.CharField(choices=[('modules', 'modules'), ('versions', 'versions'), ('storage', 'storage'), ('compile_jobs', 'compile_jobs'), ('api_requests', 'api_requests'), ('overage', 'overage')], max_length=16)),
                ('threshold', models.PositiveSmallIntegerField()),
                ('fired_at', models.DateTimeField()),
                ('used', models.BigIntegerField()),
                ('limit', models.BigIntegerField()),
                ('notify', models.BooleanField(default=False)),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('told', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, default=list, size=None)),
                ('notified_at', models.DateTimeField(blank=True, null=True)),
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                ('period', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='quotas.usageperiod')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('notified_at__isnull', True), ('notify', True)), fields=['fired_at'], name='quotas_alert_unsent')],
                'constraints': [models.UniqueConstraint(fields=('period', 'resource', 'threshold'), name='quotas_alert_once'), models.CheckConstraint(condition=models.Q(('resource__in', ['modules', 'versions', 'storage', 'compile_jobs', 'api_requests', 'overage'])), name='quotas_alert_resource'), models.CheckConstraint(condition=models.Q(('threshold__gte', 1), ('threshold__lte', 1000)), name='quotas_alert_threshold'), models.CheckConstraint(condition=models.Q(('limit__gte', 0), ('used__gte', 0)), name='quotas_alert_positive')],
            },
        ),
        migrations.CreateModel(
            name='AlertOptOut',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField()),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('org', 'user'), name='quotas_alertoptout_unique')],
            },
        ),
        EnableRowLevelSecurity("AlertSettings"),
        EnableRowLevelSecurity("Alert"),
        EnableRowLevelSecurity("AlertOptOut"),
        migrations.RunSQL(LATELY, "DROP INDEX quotas_usagebucket_lately"),
    ]
