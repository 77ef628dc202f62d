#!/usr/bin/env python
"""Command-line entry point. Without DATABASE_URL or REDIS_URL the embedded servers are used."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
    if os.environ.get("SPOKE_ENV", "development") == "development":
        from spoke.devservers import ensure_env

        ensure_env(root=Path(__file__).resolve().parent)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
