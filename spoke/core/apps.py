from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "spoke.core"
    label = "core"

    def ready(self) -> None:
        from spoke.core import checks  # noqa: F401, PLC0415 - registers the system checks
