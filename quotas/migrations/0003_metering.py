import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import quotas.models.meter
from spoke.core.tenancy import OF_ORG, EnableRowLevelSecurity, policy_statements

# Events arrive at high rates, so the table has just two indexes: the primary key, which every read of
# one meter goes by, and the one by transaction, which finds what is new.
EVENTS = """
CREATE SEQUENCE quotas_usageevent_id_seq AS bigint;
CREATE TABLE quotas_usageevent (
    id bigint NOT NULL DEFAULT nextval('quotas_usageevent_id_seq'),
    org_id bigint NOT NULL,
    meter_id bigint NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    quantity numeric(30, 12) NOT NULL,
    "timestamp" timestamptz NOT NULL,
    counted_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    properties jsonb,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (org_id, meter_id, counted_at, id, received_at)
) PARTITION BY RANGE (received_at);
ALTER SEQUENCE quotas_usageevent_id_seq OWNED BY quotas_usageevent.id;
CREATE INDEX quotas_usageevent_xid ON quotas_usageevent (xid);
"""
KEYS = """
CREATE TABLE quotas_eventkey (
    digest uuid NOT NULL,
    org_id bigint NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, digest)
);
CREATE INDEX quotas_eventkey_received ON quotas_eventkey USING brin (received_at);
"""
POLICIES = "\n".join(
    f"EXECUTE format($policy$ {statement} $policy$, part);"
    for statement in policy_statements("%1$s", OF_ORG, OF_ORG, append_only=False)
)
# The runtime role may not change the schema; these two functions are all that it can do to it. A
# partition is made beside the table and attached, which holds up nobody who writes.
ADD_PARTITION = f"""
CREATE FUNCTION quotas_add_event_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET "TimeZone" = 'UTC'
SET lock_timeout = '5s' AS $$
DECLARE
    low timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    high timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    part text := 'quotas_usageevent_' || to_char(month, 'YYYYMM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('quotas.event_partitions'));
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE quotas_usageevent INCLUDING DEFAULTS)', part);
    {POLICIES}
    EXECUTE format('ALTER TABLE quotas_usageevent ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, low, high);
    RETURN true;
END $$;
"""
DROP_PARTITIONS = """
CREATE FUNCTION quotas_drop_event_partitions(before date) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    part text;
    dropped text[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('quotas.event_partitions'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'quotas_usageevent'::regclass
          AND c.relname < 'quotas_usageevent_' || to_char(before, 'YYYYMM')
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped || part;
    END LOOP;
    RETURN dropped;
END $$;
"""
FIRST_PARTITIONS = """
SELECT quotas_add_event_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month')::date)
FROM generate_series(0, 3) AS n;
"""


def functions_are_for_the_runtime_role(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_ROLE)
    for function in ("quotas_add_event_partition", "quotas_drop_event_partitions"):
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {function}(date) FROM PUBLIC")
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {function}(date) TO {role}")


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0002_row_level_security"),
        ("quotas", "0002_row_level_security"),
    ]

    operations = [
        migrations.CreateModel(
            name='Meter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=64, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('aggregation', models.CharField(choices=[('sum', 'sum'), ('count', 'count'), ('max', 'max'), ('unique', 'unique'), ('latest', 'latest'), ('time_weighted_average', 'time_weighted_average')], max_length=24)),
                ('unit', models.CharField(max_length=32)),
                ('unique_property', models.CharField(blank=True, max_length=64, null=True)),
                ('allows_decrease', models.BooleanField(default=False)),
                ('resource', models.CharField(blank=True, choices=[('modules', 'modules'), ('versions', 'versions'), ('storage', 'storage'), ('compile_jobs', 'compile_jobs'), ('api_requests', 'api_requests')], max_length=16, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('aggregation', 'unique'), ('unique_property__isnull', False)), models.Q(models.Q(('aggregation', 'unique'), _negated=True), ('unique_property__isnull', True)), _connector='OR'), name='quotas_meter_unique_property'), models.CheckConstraint(condition=models.Q(('resource__isnull', True), models.Q(('aggregation', 'sum'), ('allows_decrease', False)), _connector='OR'), name='quotas_meter_resource_is_sum')],
            },
        ),
        migrations.CreateModel(
            name='RollupState',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('horizon', quotas.models.meter.TransactionIdField()),
                ('complete_since', models.DateTimeField(null=True)),
                ('rolled_up_at', models.DateTimeField(null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='quotas_rollupstate_one')],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(EVENTS, "DROP TABLE quotas_usageevent")],
            state_operations=[
                migrations.CreateModel(
                    name='UsageEvent',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('idempotency_key', models.CharField(max_length=255)),
                        ('quantity', models.DecimalField(decimal_places=12, max_digits=30)),
                        ('timestamp', models.DateTimeField()),
                        ('counted_at', models.DateTimeField()),
                        ('received_at', models.DateTimeField()),
                        ('properties', models.JSONField(null=True)),
                        ('xid', quotas.models.meter.TransactionIdField(db_default=quotas.models.meter.CurrentTransactionId())),
                        ('meter', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.meter')),
                        ('org', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                    ],
                ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(KEYS, "DROP TABLE quotas_eventkey")],
            state_operations=[
                migrations.CreateModel(
                    name='EventKey',
                    fields=[
                        ('digest', models.UUIDField(primary_key=True, serialize=False)),
                        ('received_at', models.DateTimeField()),
                        ('org', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
                    ],
                    options={
                        'indexes': [django.contrib.postgres.indexes.BrinIndex(fields=['received_at'], name='quotas_eventkey_received')],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='MeterBucket',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('span', models.CharField(choices=[('hour', 'hour'), ('day', 'day')], max_length=4)),
                ('start', models.DateTimeField()),
                ('events', models.BigIntegerField()),
                ('total', models.DecimalField(decimal_places=12, max_digits=60)),
                ('maximum', models.DecimalField(decimal_places=12, max_digits=30)),
                ('moment', models.DecimalField(decimal_places=18, max_digits=80)),
                ('latest', models.DecimalField(decimal_places=12, max_digits=30, null=True)),
                ('latest_at', models.DateTimeField(null=True)),
                ('latest_id', models.BigIntegerField(null=True)),
                ('meter', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.meter')),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('org', 'meter', 'span', 'start'), name='quotas_meterbucket_unique'), models.CheckConstraint(condition=models.Q(('events__gt', 0)), name='quotas_meterbucket_events')],
            },
        ),
        migrations.CreateModel(
            name='MeterDistinct',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start', models.DateTimeField()),
                ('digest', models.UUIDField()),
                ('meter', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='quotas.meter')),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='orgs.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('org', 'meter', 'start', 'digest'), name='quotas_meterdistinct_unique')],
            },
        ),
        # Meters are the same for everybody, and the state of the rollup holds nobody's data.
        EnableRowLevelSecurity("UsageEvent"),
        EnableRowLevelSecurity("EventKey"),
        EnableRowLevelSecurity("MeterBucket"),
        EnableRowLevelSecurity("MeterDistinct"),
        migrations.RunSQL(ADD_PARTITION, "DROP FUNCTION quotas_add_event_partition(date)"),
        migrations.RunSQL(DROP_PARTITIONS, "DROP FUNCTION quotas_drop_event_partitions(date)"),
        migrations.RunPython(
            functions_are_for_the_runtime_role, migrations.RunPython.noop, elidable=False
        ),
        migrations.RunSQL(FIRST_PARTITIONS, migrations.RunSQL.noop),
    ]
