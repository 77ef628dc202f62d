from importlib import import_module

from django.apps import AppConfig, apps


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        # Models of other applications cannot be imported before.
        import_module("billing.stripe.mending").mend()
        apps.get_app_config("djstripe").verbose_name = "Mirror of Stripe"
