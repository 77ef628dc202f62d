import os
from pathlib import Path

from django.apps import AppConfig

from spoke.demo.clock import Clock, install


class DemoConfig(AppConfig):
    name = "spoke.demo"
    label = "demo"
    # Set by `make run`; without it the clock is the machine's.
    clock: Clock | None = None

    def ready(self) -> None:
        if file := os.environ.get("SPOKE_CLOCK_FILE"):
            DemoConfig.clock = install(Path(file))
