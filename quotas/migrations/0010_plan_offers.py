import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):

    dependencies = [
        ('orgs', '0002_row_level_security'),
        ('quotas', '0009_charge_models'),
    ]

    operations = [
        migrations.CreateModel(
            name='PlanOffer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=32)),
                ('created_at', models.DateTimeField()),
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='plan_offers', to='orgs.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('org', 'code'), name='quotas_planoffer_unique')],
            },
        ),
        EnableRowLevelSecurity("PlanOffer"),
    ]
