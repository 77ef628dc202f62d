"""Production does not start with a development default."""

import pytest

from spoke.core.checks import production_settings, runtime_role


def test_development_needs_nothing(settings):
    settings.PRODUCTION = False
    assert production_settings(None) == []


def test_production_names_every_default_left(settings):
    settings.PRODUCTION = True
    settings.CONFIGURED = frozenset()
    settings.DEBUG = True
    settings.SECRET_KEY = settings.DEVELOPMENT_SECRET
    found = [error.id for error in production_settings(None)]
    assert found == [
        "spoke.E001",
        "spoke.E002",
        "spoke.E003",
        "spoke.E003",
        "spoke.E004",
    ]


def test_a_configured_production_passes(settings):
    settings.PRODUCTION = True
    settings.DEBUG = False
    settings.SECRET_KEY = "k" * 50
    settings.CONFIGURED = frozenset({"DATABASE_URL", "REDIS_URL"})
    settings.SPOKE_BASE_URL = "https://spoke.example"
    assert production_settings(None) == []


@pytest.mark.django_db
def test_the_runtime_role_is_bound_by_row_level_security():
    assert runtime_role(None, databases=["default"]) == []
