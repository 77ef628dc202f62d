from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "spoke.core"
    label = "core"
    verbose_name = "API"

    def ready(self) -> None:
        from spoke.core import checks  # noqa: F401, PLC0415 - registers the system checks
