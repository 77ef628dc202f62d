"""PostgreSQL and Valkey for development and tests, without anything to install or to start.

Standard library only, and no Django: `manage.py` calls `ensure_env` before it imports settings.
"""

from .attach import Urls, attach, ensure_env
from .errors import DevServerError

__all__ = ["DevServerError", "Urls", "attach", "ensure_env"]
