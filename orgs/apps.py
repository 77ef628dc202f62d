from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"

    def ready(self) -> None:
        from orgs.api import schema  # noqa: F401, PLC0415 - registers the security schemes
