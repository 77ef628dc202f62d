"""WSGI entry point for the production server."""

import os

import django
from django.core.management import call_command

from spoke.celery import app
from spoke.core.wsgi import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
django.setup(set_prefix=False)
application = Handler()
# A request waits less for a broker that hangs than a worker does, each time it tries.
app.conf.broker_transport_options = {**app.conf.broker_transport_options, "socket_timeout": 1.0}
# A production server that is set up wrongly does not start.
call_command("check")
