import django.db.models.deletion
from django.db import migrations, models

# Lines are added by the hundred thousand: one look at their invoices for each statement. It is planned
# each time, by what the tables hold then, and never for the first hit alone: there is none.
GUARDS = """
DROP TRIGGER billing_keep_invoice_line ON billing_invoiceline;
CREATE TRIGGER billing_keep_invoice_line BEFORE UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION billing_keep_invoice_line();
CREATE FUNCTION billing_keep_from_lines() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF (SELECT bool_or(i.status <> 'draft')
        FROM added JOIN billing_invoice i ON i.id = added.invoice_id) THEN
        RAISE EXCEPTION 'the lines of an invoice with a number do not change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER billing_keep_from_lines AFTER INSERT ON billing_invoiceline
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_keep_from_lines();
"""
NO_GUARDS = """
DROP TRIGGER billing_keep_from_lines ON billing_invoiceline;
DROP FUNCTION billing_keep_from_lines;
DROP TRIGGER billing_keep_invoice_line ON billing_invoiceline;
CREATE TRIGGER billing_keep_invoice_line BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION billing_keep_invoice_line();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_tax_and_credits'),
        ('orgs', '0002_row_level_security'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='invoiceline',
            name='billing_invoiceline_kind',
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='invoice',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='billing.invoice'),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('base', 'Base'), ('proration', 'Proration'), ('overage', 'Overage'), ('credit', 'Credit'), ('tax', 'Tax'), ('rounding', 'Rounding')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['base', 'proration', 'overage', 'credit', 'tax', 'rounding'])), name='billing_invoiceline_kind'),
        ),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
