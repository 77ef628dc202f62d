"""`celery` whose workers are missed after 6 seconds, so that a test need not wait for half a minute."""

import sys
from datetime import timedelta

import django
from celery.__main__ import main

if __name__ == "__main__":
    django.setup()
    from registry.services import compile_running

    compile_running.LEASE = timedelta(seconds=6)
    sys.argv[0] = "celery"
    main()
