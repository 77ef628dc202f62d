"""The settings of the tests: their own ephemeral servers, and speed overrides."""

import os
import tempfile
from pathlib import Path

from spoke.devservers import ensure_env

os.environ.setdefault("SPOKE_ENV", "test")
os.environ.setdefault("EMAIL_URL", "memorymail://")
os.environ.setdefault("STORAGE_DIR", tempfile.mkdtemp(prefix="spoke-test-files-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")
# No test reaches Stripe: those that need it start a server of their own and say where it is.
os.environ["STRIPE_SECRET_KEY"] = ""
os.environ["STRIPE_API_HOST"] = "http://127.0.0.1:9"
ensure_env(root=Path(__file__).resolve().parent.parent, ephemeral=True)

from spoke.settings import *  # noqa: E402, F403
from spoke.settings import CACHES, DATABASES, redis_database  # noqa: E402

# Each xdist worker has two Redis databases of its own: one for limits, one for the cache.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
REDIS_URL = redis_database(2 + 2 * WORKER)
CACHES["default"]["LOCATION"] = redis_database(3 + 2 * WORKER)
# Two runs at once do not share a database; xdist's workers inherit the name of their run.
RUN = os.environ.setdefault("SPOKE_TEST_RUN", str(os.getpid()))
DATABASES["default"]["TEST"] = {"NAME": f"test_spoke_{RUN}"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
ANONYMOUS_RATE_LIMIT = "10000/m"
# A test's transaction never commits, so nobody would hear of changes; tests with commits switch it on.
PRINCIPAL_CACHE_SECONDS = 0
