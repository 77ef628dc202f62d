"""Sealed secrets."""

import pytest
from cryptography.fernet import InvalidToken

from spoke.core.sealing import seal, unseal


def test_a_sealed_text_opens_again_and_does_not_show():
    sealed = seal("spk_secret ☂")
    assert "spk_secret" not in sealed
    assert unseal(sealed) == "spk_secret ☂"


def test_a_former_key_still_opens(settings):
    sealed = seal("x")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-key"
    assert unseal(sealed) == "x"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        unseal(sealed)
