from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"
    verbose_name = "Organizations and people"

    def ready(self) -> None:
        from orgs.api import schema  # noqa: F401, PLC0415 - registers the security schemes
