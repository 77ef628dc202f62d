from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0007_one_notice_a_day")]

    operations = [
        AddIndexConcurrently(
            "invoice",
            models.Index(
                condition=models.Q(("status", "open")),
                fields=["org"],
                name="billing_invoice_open",
            ),
        ),
    ]
