"""Sealing of secrets that must outlive a request (replayed answers, a link on its way to an e-mail)."""

import base64
import hashlib

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def _sealer() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"spoke.sealing:" + k.encode()).digest()))
        for k in keys
    )


def seal(text: str) -> str:
    """Encrypts and authenticates a text under the secret key."""
    return _sealer().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text that `seal` was given. Raises cryptography.fernet.InvalidToken when altered."""
    return _sealer().decrypt(sealed.encode()).decode()
