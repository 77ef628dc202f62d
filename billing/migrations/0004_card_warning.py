from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0003_set_close'),
    ]

    operations = [
        migrations.AddField(
            model_name='paymentmethod',
            name='warning_claimed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
