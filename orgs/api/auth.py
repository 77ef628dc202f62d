"""Authentication: bearer tokens, the app sessions of sign-in by API, and browser sessions."""

from dataclasses import dataclass
from typing import Any

from allauth.headless.contrib.rest_framework.authentication import XSessionTokenAuthentication
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from orgs.context import Principal
from orgs.services.grants import Grant, Sighting, recall, sight
from orgs.services.tokens import resolve_token


@dataclass(frozen=True, slots=True)
class Remembering:
    """What authentication knows for the view: a grant from memory, or what a new one may stand on."""

    raw: str
    ref: str
    grant: Grant | None
    sighting: Sighting | None


class ServiceAccount:
    """Stands in for a user where a service token calls."""

    pk = id = None
    is_authenticated = True
    is_active = True
    is_staff = False
    email = ""


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer spk_…`; sets `request.auth` to the Principal."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        header = request.headers.get("Authorization", "")
        scheme, _, raw = header.partition(" ")
        if not header:
            return None
        if scheme.lower() != "bearer":
            raise exceptions.AuthenticationFailed(
                "Send the token as: Authorization: Bearer <token>.", code="invalid_scheme"
            )
        raw, now = raw.strip(), timezone.now()
        ref = (request.parser_context or {}).get("kwargs", {}).get("org")
        grant = recall(raw=raw, ref=ref, now=now) if ref else None
        remembering = Remembering(raw, ref, grant, None if grant else sight(ref)) if ref else None
        request.remembering = remembering  # type: ignore[attr-defined]
        principal = grant.principal if grant else resolve_token(raw=raw, now=now)
        if principal is None:
            raise exceptions.AuthenticationFailed(
                "The token is unknown, revoked or expired.", code="invalid_token"
            )
        return principal.user or ServiceAccount(), principal

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Spoke"'


class AppSessionAuthentication(XSessionTokenAuthentication):
    """`X-Session-Token`, given by sign-in through /_allauth/app/v1/."""

    def authenticate(self, request: Any) -> tuple[Any, Principal] | None:
        result = super().authenticate(request)
        return None if result is None else (result[0], Principal(user=result[0]))


class BrowserSessionAuthentication(authentication.SessionAuthentication):
    """The session of a person signed in with a browser; CSRF is enforced."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        result = super().authenticate(request)
        return None if result is None else (result[0], Principal(user=result[0]))
