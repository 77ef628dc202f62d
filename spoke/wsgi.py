"""WSGI entry point for the production server."""

import os

import django
from django.core.management import call_command

from spoke.core.wsgi import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
django.setup(set_prefix=False)
application = Handler()
# A production server that is set up wrongly does not start.
call_command("check")
