from django.db import migrations

from spoke.core.tenancy import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("quotas", "0001_initial")]

    # The plan catalogue is nobody's and stays outside.
    operations = [
        EnableRowLevelSecurity(model)
        for model in (
            "PlanAssignment",
            "LimitOverride",
            "QuotaSettings",
            "UsageGauge",
            "UsagePeriod",
            "PeriodUsage",
            "UsageBucket",
        )
    ]
