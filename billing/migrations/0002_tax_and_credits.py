import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from spoke.core.tenancy import EnableRowLevelSecurity

# What was billed by now bore no tax of ours; Stripe's stands in lines of its own.
SUBTOTALS = """
SELECT set_config('spoke.everything', 'on', true);
UPDATE billing_invoice i SET tax_minor = t.tax, subtotal_minor = i.total_minor - t.tax
FROM (SELECT i.id, coalesce(sum(l.amount_minor) FILTER (WHERE l.kind = 'tax'), 0) AS tax
      FROM billing_invoice i LEFT JOIN billing_invoiceline l ON l.invoice_id = i.id GROUP BY i.id) t
WHERE t.id = i.id;
SELECT set_config('spoke.everything', '', true);
"""
# Two rates of one place never hold on one day. A range of texts says `equal` to an index of ranges,
# which needs no extension.
RATES = """
CREATE TYPE billing_place AS RANGE (subtype = text, collation = "C");
ALTER TABLE billing_taxrate ADD CONSTRAINT billing_taxrate_no_overlap EXCLUDE USING gist (
    billing_place(country || '-' || upper(state), country || '-' || upper(state), '[]') WITH &&,
    daterange(valid_from, valid_until) WITH &&
);
"""
NO_RATES = """
ALTER TABLE billing_taxrate DROP CONSTRAINT billing_taxrate_no_overlap;
DROP TYPE billing_place;
"""
# Of an invoice only how it is settled changes, and what credit notes took off; of a note how it is
# settled; of a rate its end; of branding nothing.
GUARDS = """
CREATE OR REPLACE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'an invoice with a number is kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.org_id, OLD.period_start, OLD.period_end, OLD.number, OLD.currency, OLD.total_minor,
        OLD.bill_to, OLD.created_at, OLD.finalized_at, OLD.due_at, OLD.subtotal_minor, OLD.tax_minor,
        OLD.tax_note, OLD.branding_id)
       IS DISTINCT FROM
       (NEW.org_id, NEW.period_start, NEW.period_end, NEW.number, NEW.currency, NEW.total_minor,
        NEW.bill_to, NEW.created_at, NEW.finalized_at, NEW.due_at, NEW.subtotal_minor, NEW.tax_minor,
        NEW.tax_note, NEW.branding_id)
       OR NEW.status = 'draft' THEN
        RAISE EXCEPTION 'an invoice with a number does not change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION billing_keep_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a credit note is kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.org_id, OLD.invoice_id, OLD.number, OLD.kind, OLD.amount_minor, OLD.tax_minor, OLD.currency,
        OLD.reason, OLD.created_by, OLD.created_at, OLD.source)
       IS DISTINCT FROM
       (NEW.org_id, NEW.invoice_id, NEW.number, NEW.kind, NEW.amount_minor, NEW.tax_minor, NEW.currency,
        NEW.reason, NEW.created_by, NEW.created_at, NEW.source)
       OR OLD.status = 'void' AND NEW.status <> 'void' THEN
        RAISE EXCEPTION 'a credit note does not change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_keep_note BEFORE UPDATE OR DELETE ON billing_creditnote
    FOR EACH ROW EXECUTE FUNCTION billing_keep_note();
CREATE FUNCTION billing_keep_rate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.country, OLD.state, OLD.name, OLD.percentage, OLD.valid_from)
       IS DISTINCT FROM (NEW.country, NEW.state, NEW.name, NEW.percentage, NEW.valid_from) THEN
        RAISE EXCEPTION 'a rate of tax only ends' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_keep_rate BEFORE UPDATE ON billing_taxrate
    FOR EACH ROW EXECUTE FUNCTION billing_keep_rate();
CREATE FUNCTION billing_keep_branding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what documents show is kept' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER billing_keep_branding BEFORE UPDATE OR DELETE ON billing_branding
    FOR EACH ROW EXECUTE FUNCTION billing_keep_branding();
"""
NO_GUARDS = """
DROP TRIGGER billing_keep_branding ON billing_branding;
DROP FUNCTION billing_keep_branding;
DROP TRIGGER billing_keep_rate ON billing_taxrate;
DROP FUNCTION billing_keep_rate;
DROP TRIGGER billing_keep_note ON billing_creditnote;
DROP FUNCTION billing_keep_note;
CREATE OR REPLACE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0001_initial'),
        ('orgs', '0002_row_level_security'),
    ]

    operations = [
        migrations.CreateModel(
            name='BillingDetails',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('legal_name', models.CharField(blank=True, max_length=200)),
                ('line1', models.CharField(blank=True, max_length=200)),
                ('line2', models.CharField(blank=True, max_length=200)),
                ('city', models.CharField(blank=True, max_length=100)),
                ('postal_code', models.CharField(blank=True, max_length=20)),
                ('state', models.CharField(blank=True, max_length=64)),
                ('country', models.CharField(blank=True, max_length=2)),
                ('tax_id_type', models.CharField(blank=True, choices=[('au_abn', 'au_abn'), ('br_cnpj', 'br_cnpj'), ('ca_bn', 'ca_bn'), ('ca_gst_hst', 'ca_gst_hst'), ('ch_vat', 'ch_vat'), ('eu_vat', 'eu_vat'), ('gb_vat', 'gb_vat'), ('in_gst', 'in_gst'), ('jp_trn', 'jp_trn'), ('no_vat', 'no_vat'), ('nz_gst', 'nz_gst'), ('sg_uen', 'sg_uen'), ('us_ein', 'us_ein'), ('za_vat', 'za_vat')], max_length=16)),
                ('tax_id', models.CharField(blank=True, max_length=32)),
                ('tax_exempt', models.BooleanField(default=False)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('updated_at', models.DateTimeField()),
                ('pushed_revision', models.PositiveIntegerField(default=0)),
                ('push_error', models.CharField(blank=True, max_length=500)),
            ],
            options={
                'verbose_name_plural': 'billing details',
            },
        ),
        migrations.CreateModel(
            name='Branding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('logo', models.BinaryField()),
                ('colour', models.CharField(blank=True, max_length=7)),
                ('address', models.TextField(blank=True)),
                ('footer', models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name='Credit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('amount_minor', models.BigIntegerField()),
                ('remaining_minor', models.BigIntegerField()),
                ('reason', models.CharField(max_length=200)),
                ('granted_by', models.CharField(max_length=255)),
                ('priority', models.PositiveSmallIntegerField(default=100)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='CreditApplication',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('applied_at', models.DateTimeField()),
                ('returned_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='CreditNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.CharField(max_length=64, unique=True)),
                ('kind', models.CharField(choices=[('refund', 'Refund'), ('credit', 'Credit'), ('reduction', 'Reduction')], max_length=9)),
                ('amount_minor', models.BigIntegerField()),
                ('tax_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('reason', models.CharField(max_length=500)),
                ('created_by', models.CharField(max_length=255)),
                ('created_at', models.DateTimeField()),
                ('source', models.CharField(choices=[('spoke', 'Spoke'), ('stripe', 'Stripe')], default='spoke', max_length=8)),
                ('status', models.CharField(choices=[('issued', 'Issued'), ('settled', 'Settled'), ('void', 'Void')], default='issued', max_length=8)),
                ('settled_at', models.DateTimeField(blank=True, null=True)),
                ('settled_by', models.CharField(blank=True, max_length=255)),
                ('stripe_id', models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ('pushed_at', models.DateTimeField(blank=True, null=True)),
                ('push_error', models.CharField(blank=True, max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name='Partner',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('logo', models.BinaryField(blank=True, default=bytes)),
                ('colour', models.CharField(blank=True, max_length=7, validators=[django.core.validators.RegexValidator('\\A#[0-9a-f]{6}\\Z', 'A colour as #1a2b3c.')])),
                ('address', models.TextField(blank=True, max_length=500)),
                ('footer', models.TextField(blank=True, max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name='TaxRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('country', models.CharField(max_length=2, validators=[django.core.validators.RegexValidator('\\A[A-Z]{2}\\Z', 'Two capital letters of ISO 3166-1.')])),
                ('state', models.CharField(blank=True, max_length=64)),
                ('name', models.CharField(max_length=50)),
                ('percentage', models.DecimalField(decimal_places=4, max_digits=7, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(100)])),
                ('valid_from', models.DateField()),
                ('valid_until', models.DateField(blank=True, null=True)),
                ('stripe_id', models.CharField(blank=True, max_length=255, null=True, unique=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='invoiceline',
            name='billing_invoiceline_kind',
        ),
        migrations.AddField(
            model_name='invoice',
            name='credited_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='subtotal_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_note',
            field=models.CharField(blank=True, db_default='', max_length=200),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('base', 'Base'), ('proration', 'Proration'), ('overage', 'Overage'), ('credit', 'Credit'), ('tax', 'Tax')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['base', 'proration', 'overage', 'credit', 'tax'])), name='billing_invoiceline_kind'),
        ),
        migrations.AddField(
            model_name='billingdetails',
            name='org',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='billing_details', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='branding',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.branding'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('credited_minor', 0), models.Q(('credited_minor__gt', 0), ('credited_minor__lte', models.F('total_minor'))), _connector='OR'), name='billing_invoice_credited'),
        ),
        migrations.AddField(
            model_name='credit',
            name='org',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='credits', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='creditapplication',
            name='credit',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='applications', to='billing.credit'),
        ),
        migrations.AddField(
            model_name='creditapplication',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='applications', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='creditapplication',
            name='org',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='creditnote',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credit_notes', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='creditnote',
            name='org',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='orgs.organization'),
        ),
        migrations.AddField(
            model_name='credit',
            name='note',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='credit', to='billing.creditnote'),
        ),
        migrations.AddField(
            model_name='billingdetails',
            name='partner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.partner'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.CheckConstraint(condition=models.Q(('percentage__gte', 0), ('percentage__lte', 100)), name='billing_taxrate_percentage'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.CheckConstraint(condition=models.Q(('valid_until__isnull', True), ('valid_until__gt', models.F('valid_from')), _connector='OR'), name='billing_taxrate_forward'),
        ),
        migrations.AddConstraint(
            model_name='taxrate',
            constraint=models.CheckConstraint(condition=models.Q(('country__regex', '^[A-Z]{2}$')), name='billing_taxrate_country'),
        ),
        migrations.AddConstraint(
            model_name='creditapplication',
            constraint=models.UniqueConstraint(fields=('invoice', 'credit'), name='billing_creditapplication_once'),
        ),
        migrations.AddConstraint(
            model_name='creditapplication',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='billing_creditapplication_amount'),
        ),
        migrations.AddIndex(
            model_name='creditnote',
            index=models.Index(condition=models.Q(('pushed_at__isnull', True)), fields=['org'], name='billing_creditnote_to_push'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='billing_creditnote_amount'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('tax_minor__gte', 0), ('tax_minor__lte', models.F('amount_minor'))), name='billing_creditnote_tax'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['refund', 'credit', 'reduction'])), name='billing_creditnote_kind'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['issued', 'settled', 'void'])), name='billing_creditnote_status'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('source__in', ['spoke', 'stripe'])), name='billing_creditnote_source'),
        ),
        migrations.AddIndex(
            model_name='credit',
            index=models.Index(condition=models.Q(('remaining_minor__gt', 0)), fields=['org', 'currency'], name='billing_credit_left'),
        ),
        migrations.AddConstraint(
            model_name='credit',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='billing_credit_amount'),
        ),
        migrations.AddConstraint(
            model_name='credit',
            constraint=models.CheckConstraint(condition=models.Q(('remaining_minor__gte', 0), ('remaining_minor__lte', models.F('amount_minor'))), name='billing_credit_remaining'),
        ),
        migrations.AddIndex(
            model_name='billingdetails',
            index=models.Index(condition=models.Q(('pushed_revision__lt', models.F('revision'))), fields=['org'], name='billing_details_to_push'),
        ),
        migrations.AddConstraint(
            model_name='billingdetails',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('tax_id', ''), ('tax_id_type', '')), models.Q(models.Q(('tax_id', ''), _negated=True), models.Q(('tax_id_type', ''), _negated=True)), _connector='OR'), name='billing_details_tax_id'),
        ),
        EnableRowLevelSecurity('BillingDetails'),
        EnableRowLevelSecurity('Credit'),
        EnableRowLevelSecurity('CreditApplication'),
        EnableRowLevelSecurity('CreditNote'),
        migrations.RunSQL(SUBTOTALS, migrations.RunSQL.noop),
        migrations.RunSQL(RATES, NO_RATES),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
