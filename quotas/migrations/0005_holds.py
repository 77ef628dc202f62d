import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_row_level_security"), ("quotas", "0004_gauge_integral")]

    operations = [
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('resource', models.CharField(choices=[('modules', 'modules'), ('versions', 'versions'), ('storage', 'storage'), ('compile_jobs', 'compile_jobs'), ('api_requests', 'api_requests')], max_length=16)),
                ('amount', models.BigIntegerField()),
                ('state', models.CharField(choices=[('held', 'Held'), ('committed', 'Committed'), ('released', 'Released'), ('expired', 'Expired')], default='held', max_length=9)),
                ('reference', models.CharField(blank=True, max_length=255)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('settled_at', models.DateTimeField(blank=True, null=True)),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
            ],
            options={
                'indexes': [models.Index(fields=['org', 'id'], name='quotas_hold_org'), models.Index(condition=models.Q(('state', 'held')), fields=['expires_at'], name='quotas_hold_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('resource__in', ['compile_jobs', 'storage'])), name='quotas_hold_resource'), models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='quotas_hold_positive'), models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('created_at'))), name='quotas_hold_forward'), models.CheckConstraint(condition=models.Q(models.Q(('settled_at__isnull', True), ('state', 'held')), models.Q(('state__in', ['held', 'committed', 'released', 'expired']), models.Q(('state', 'held'), _negated=True), ('settled_at__isnull', False)), _connector='OR'), name='quotas_hold_settled')],
            },
        ),
        EnableRowLevelSecurity("Hold"),
    ]
