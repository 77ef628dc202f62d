"""WSGI entry point for the production server."""

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
application = get_wsgi_application()
# A production server that is set up wrongly does not start.
call_command("check")
