"""The form of an invitation's token in an address: anything else is a 404 before any query."""

from django.urls import register_converter


class InvitationToken:
    """32 bytes in URL-safe base64 without padding; the last character carries four bits only."""

    regex = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


def register() -> None:
    """Makes `<invitation:token>` known to the URL configuration."""
    register_converter(InvitationToken, "invitation")
