import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("orgs", "0002_row_level_security"), ("quotas", "0006_alerts")]

    operations = [
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('action', models.CharField(choices=[('notify', 'Notify'), ('block', 'Block')], max_length=6)),
                ('updated_at', models.DateTimeField()),
                ('org', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='budget', to='orgs.organization')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('amount_minor__gte', 0)), name='quotas_budget_positive'), models.CheckConstraint(condition=models.Q(('action__in', ['notify', 'block'])), name='quotas_budget_action')],
            },
        ),
        EnableRowLevelSecurity("Budget"),
    ]
