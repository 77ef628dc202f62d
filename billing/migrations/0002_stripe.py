import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0001_initial'),
        ('orgs', '0002_row_level_security'),
        ('quotas', '0008_plan_terms'),
    ]

    operations = [
        migrations.CreateModel(
            name='DunningNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('past_due_since', models.DateTimeField()),
                ('day', models.PositiveSmallIntegerField()),
                ('claimed_at', models.DateTimeField()),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='PaymentMethod',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('kind', models.CharField(max_length=32)),
                ('brand', models.CharField(blank=True, max_length=32)),
                ('last4', models.CharField(blank=True, max_length=4)),
                ('exp_month', models.PositiveSmallIntegerField(null=True)),
                ('exp_year', models.PositiveSmallIntegerField(null=True)),
                ('is_default', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('warned_of', models.DateField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='StripeCustomer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='StripePrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('product_id', models.CharField(max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='WebhookEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.CharField(max_length=255, unique=True)),
                ('kind', models.CharField(max_length=100)),
                ('object_id', models.CharField(max_length=255)),
                ('payload', models.JSONField()),
                ('created_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
                ('source', models.CharField(default='webhook', max_length=8)),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('done', 'Done'), ('dead', 'Dead')], default='waiting', max_length=8)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField()),
                ('processed_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='billing_invoice_one_a_period',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='billing_invoice_forward',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='billing_invoice_total',
        ),
        migrations.RemoveConstraint(
            model_name='invoiceline',
            name='billing_invoiceline_kind',
        ),
        migrations.RemoveConstraint(
            model_name='subscription',
            name='billing_subscription_status',
        ),
        migrations.AddField(
            model_name='invoice',
            name='nothing_due',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='invoice',
            name='pushed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='source',
            field=models.CharField(choices=[('usage', 'Usage'), ('stripe', 'Stripe')], default='usage', max_length=8),
        ),
        migrations.AddField(
            model_name='invoice',
            name='stripe_id',
            field=models.CharField(blank=True, max_length=255, null=True, unique=True),
        ),
        migrations.AddField(
            model_name='subscription',
            name='collection',
            field=models.CharField(choices=[('manual', 'Manual'), ('stripe', 'Stripe')], default='manual', max_length=8),
        ),
        migrations.AddField(
            model_name='subscription',
            name='past_due_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='subscription',
            name='stripe_id',
            field=models.CharField(blank=True, max_length=255, null=True, unique=True),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('base', 'Base'), ('proration', 'Proration'), ('overage', 'Overage'), ('tax', 'Tax')], max_length=16),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='status',
            field=models.CharField(choices=[('incomplete', 'Incomplete'), ('trialing', 'Trialing'), ('active', 'Active'), ('past_due', 'Past Due'), ('canceled', 'Canceled')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(condition=models.Q(('source', 'usage')), fields=('org', 'period_start'), name='billing_invoice_one_a_period'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('period_end__gte', models.F('period_start'))), name='billing_invoice_forward'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('total_minor__gte', 0), ('source', 'stripe'), _connector='OR'), name='billing_invoice_total'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['base', 'proration', 'overage', 'tax'])), name='billing_invoiceline_kind'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['incomplete', 'trialing', 'active', 'past_due', 'canceled'])), name='billing_subscription_status'),
        ),
        migrations.AddField(
            model_name='dunningnotice',
            name='org',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='dunningnotice',
            name='subscription',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notices', to='billing.subscription'),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='org',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='payment_methods', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='stripecustomer',
            name='org',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='stripe_customer', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='stripeprice',
            name='price',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='stripe_price', to='quotas.planprice'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('status', 'waiting')), fields=['due_at'], name='billing_webhookevent_due'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(fields=['received_at'], name='billing_webhookevent_received'),
        ),
        migrations.AddConstraint(
            model_name='webhookevent',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['waiting', 'done', 'dead'])), name='billing_webhookevent_status'),
        ),
        migrations.AddConstraint(
            model_name='dunningnotice',
            constraint=models.UniqueConstraint(fields=('subscription', 'past_due_since', 'day'), name='billing_dunningnotice_once'),
        ),
        migrations.AddConstraint(
            model_name='paymentmethod',
            constraint=models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('org',), name='billing_paymentmethod_one_default'),
        ),
        EnableRowLevelSecurity('StripeCustomer'),
        EnableRowLevelSecurity('PaymentMethod'),
        EnableRowLevelSecurity('DunningNotice'),
    ]
