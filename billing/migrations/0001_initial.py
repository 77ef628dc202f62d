import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity

# A document that was given out does not change: neither what it says nor its lines. How it is settled
# does. Nobody deletes one, not even with its organization.
GUARDS = """
CREATE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'an invoice with a number is kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.org_id, OLD.period_start, OLD.period_end, OLD.number, OLD.currency, OLD.total_minor,
        OLD.bill_to, OLD.created_at, OLD.finalized_at, OLD.due_at)
       IS DISTINCT FROM
       (NEW.org_id, NEW.period_start, NEW.period_end, NEW.number, NEW.currency, NEW.total_minor,
        NEW.bill_to, NEW.created_at, NEW.finalized_at, NEW.due_at)
       OR NEW.status = 'draft' THEN
        RAISE EXCEPTION 'an invoice with a number does not change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_keep_invoice BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION billing_keep_invoice();
CREATE FUNCTION billing_keep_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    line billing_invoiceline := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF EXISTS (SELECT FROM billing_invoice WHERE id = line.invoice_id AND status <> 'draft') THEN
        RAISE EXCEPTION 'the lines of an invoice with a number do not change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN line;
END $$;
CREATE TRIGGER billing_keep_invoice_line BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION billing_keep_invoice_line();
"""
NO_GUARDS = """
DROP TRIGGER billing_keep_invoice_line ON billing_invoiceline;
DROP FUNCTION billing_keep_invoice_line;
DROP TRIGGER billing_keep_invoice ON billing_invoice;
DROP FUNCTION billing_keep_invoice;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('orgs', '0002_row_level_security'),
        ('quotas', '0008_plan_terms'),
    ]

    operations = [
        migrations.CreateModel(
            name='Invoice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period_start', models.DateTimeField()),
                ('period_end', models.DateTimeField()),
                ('number', models.CharField(max_length=32, null=True, unique=True)),
                ('status', models.CharField(choices=[('draft', 'Draft'), ('open', 'Open'), ('paid', 'Paid'), ('void', 'Void'), ('uncollectible', 'Uncollectible')], default='draft', max_length=16)),
                ('currency', models.CharField(max_length=3)),
                ('total_minor', models.BigIntegerField(default=0)),
                ('bill_to', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField()),
                ('finalized_at', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('settled_at', models.DateTimeField(blank=True, null=True)),
                ('settled_by', models.CharField(blank=True, max_length=255)),
                ('settlement_note', models.CharField(blank=True, max_length=500)),
                ('nothing_due', models.BooleanField(default=False)),
                ('stripe_id', models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ('pushed_at', models.DateTimeField(blank=True, null=True)),
                ('source', models.CharField(choices=[('usage', 'Usage'), ('stripe', 'Stripe')], default='usage', max_length=8)),
                ('org', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='orgs.organization')),
            ],
        ),
        migrations.CreateModel(
            name='InvoiceLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('kind', models.CharField(choices=[('base', 'Base'), ('proration', 'Proration'), ('overage', 'Overage'), ('tax', 'Tax')], max_length=16)),
                ('description', models.CharField(max_length=255)),
                ('resource', models.CharField(blank=True, max_length=16)),
                ('start', models.DateTimeField()),
                ('end', models.DateTimeField()),
                ('unit', models.CharField(blank=True, max_length=32)),
                ('quantity', models.DecimalField(decimal_places=12, max_digits=60)),
                ('included', models.DecimalField(decimal_places=12, default=0, max_digits=60)),
                ('unit_amount', models.DecimalField(decimal_places=12, max_digits=36)),
                ('precise_amount', models.DecimalField(decimal_places=24, max_digits=60)),
                ('amount_minor', models.BigIntegerField()),
                ('invoice', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='billing.invoice')),
                ('org', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='orgs.organization')),
            ],
        ),
        migrations.CreateModel(
            name='NumberSequence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seller', models.CharField(max_length=16)),
                ('year', models.PositiveSmallIntegerField()),
                ('last', models.PositiveIntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('seller', 'year'), name='billing_numbersequence_unique')],
            },
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
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='payment_methods', to='orgs.organization')),
            ],
        ),
        migrations.CreateModel(
            name='StripeCustomer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('created_at', models.DateTimeField()),
                ('org', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='stripe_customer', to='orgs.organization')),
            ],
        ),
        migrations.CreateModel(
            name='StripePrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('product_id', models.CharField(max_length=255)),
                ('price', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='stripe_price', to='quotas.planprice')),
            ],
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('incomplete', 'Incomplete'), ('trialing', 'Trialing'), ('active', 'Active'), ('past_due', 'Past Due'), ('canceled', 'Canceled')], max_length=16)),
                ('interval', models.CharField(choices=[('month', 'month'), ('year', 'year')], max_length=5)),
                ('currency', models.CharField(max_length=3)),
                ('anchor', models.DateTimeField()),
                ('started_at', models.DateTimeField()),
                ('trial_end', models.DateTimeField(blank=True, null=True)),
                ('current_period_start', models.DateTimeField()),
                ('current_period_end', models.DateTimeField()),
                ('cancel_at_period_end', models.BooleanField(default=False)),
                ('canceled_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('collection', models.CharField(choices=[('manual', 'Manual'), ('stripe', 'Stripe')], default='manual', max_length=8)),
                ('stripe_id', models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ('past_due_since', models.DateTimeField(blank=True, null=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('updated_at', models.DateTimeField()),
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='orgs.organization')),
                ('pending_plan', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.plan')),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.plan')),
            ],
        ),
        migrations.CreateModel(
            name='DunningNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('past_due_since', models.DateTimeField()),
                ('day', models.PositiveSmallIntegerField()),
                ('claimed_at', models.DateTimeField()),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('org', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notices', to='billing.subscription')),
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
            options={
                'indexes': [models.Index(condition=models.Q(('status', 'waiting')), fields=['due_at'], name='billing_webhookevent_due'), models.Index(fields=['received_at'], name='billing_webhookevent_received')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['waiting', 'done', 'dead'])), name='billing_webhookevent_status')],
            },
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('status', 'draft')), fields=['period_end'], name='billing_invoice_drafts'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(condition=models.Q(('source', 'usage')), fields=('org', 'period_start'), name='billing_invoice_one_a_period'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['draft', 'open', 'paid', 'void', 'uncollectible'])), name='billing_invoice_status'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('number__isnull', True), ('status', 'draft')), models.Q(models.Q(('status', 'draft'), _negated=True), ('number__isnull', False)), _connector='OR'), name='billing_invoice_number'),
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
            constraint=models.UniqueConstraint(fields=('invoice', 'position'), name='billing_invoiceline_position'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['base', 'proration', 'overage', 'tax'])), name='billing_invoiceline_kind'),
        ),
        migrations.AddConstraint(
            model_name='paymentmethod',
            constraint=models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('org',), name='billing_paymentmethod_one_default'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['current_period_end'], name='billing_subscription_due'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'canceled'), _negated=True), fields=('org',), name='billing_subscription_one_live'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['incomplete', 'trialing', 'active', 'past_due', 'canceled'])), name='billing_subscription_status'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('status', 'canceled')), models.Q(models.Q(('status', 'canceled'), _negated=True), ('ended_at__isnull', True)), _connector='OR'), name='billing_subscription_ended'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('current_period_end__gt', models.F('current_period_start'))), name='billing_subscription_forward'),
        ),
        migrations.AddConstraint(
            model_name='dunningnotice',
            constraint=models.UniqueConstraint(fields=('subscription', 'past_due_since', 'day'), name='billing_dunningnotice_once'),
        ),
        EnableRowLevelSecurity('Invoice'),
        EnableRowLevelSecurity('InvoiceLine'),
        EnableRowLevelSecurity('Subscription'),
        EnableRowLevelSecurity('StripeCustomer'),
        EnableRowLevelSecurity('PaymentMethod'),
        EnableRowLevelSecurity('DunningNotice'),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
