"""Path converters: what does not have the right form is a 404 before any code sees it."""

from django.urls import register_converter


class OrgRef:
    """An organization by number (bigint) or slug."""

    regex = "[0-9]{1,18}|[a-z][a-z0-9-]{0,62}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: object) -> str:
        return str(value)


class BigId:
    """A positive bigint."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


def register() -> None:
    """Makes `<org:org>` and `<id:…>` known to the URL configuration."""
    register_converter(OrgRef, "org")
    register_converter(BigId, "id")
