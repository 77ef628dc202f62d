from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "spoke.core"
    label = "core"
    verbose_name = "API"

    def ready(self) -> None:
        # They register system checks, and what is counted of tasks.
        from spoke.core import checks, task_metrics  # noqa: F401, PLC0415
