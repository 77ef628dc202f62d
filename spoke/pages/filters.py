"""What the API's answers look like to people."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template

from spoke.core.money import format_minor

register = template.Library()
NOTHING = "\N{EN DASH}"
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@register.filter
def money(minor: int | None, currency: str) -> str:
    """Minor units with their currency: 1,234.56 USD."""
    return NOTHING if minor is None else f"{format_minor(minor, currency)} {currency.upper()}"


@register.filter
def moment(text: str | None) -> str:
    """A time of the API as people read it: 5 March 2026, 09:30 UTC."""
    if not text:
        return NOTHING
    at = datetime.fromisoformat(text)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


@register.filter
def day(text: str | None) -> str:
    """The date of a time of the API: 5 March 2026."""
    return moment(text).partition(",")[0]


@register.filter
def amount(number: Any, unit: str = "") -> str:
    """So many of a unit: 1.5 GiB of bytes, 1,000 of all else; nothing is unlimited."""
    if number is None:
        return "unlimited"
    if unit == "bytes":
        return _bytes(int(number))
    return f"{round(Decimal(number), 2).normalize():,f}"


def _bytes(number: int) -> str:
    step, size = 0, Decimal(number)
    while size >= 1024 and step < len(UNITS) - 1:
        step, size = step + 1, size / 1024
    return f"{round(size, 1).normalize():f} {UNITS[step]}"


@register.filter
def words(code: str) -> str:
    """A name of the API's in words: compile_jobs is Compile jobs."""
    plain = code.replace("_", " ").replace(".", " ").capitalize()
    return f"API{plain[3:]}" if plain.startswith("Api ") else plain


@register.filter
def share(limit: dict[str, Any]) -> int:
    """How much of a limit is used, in per cent, 100 at most."""
    if not limit["limit"]:
        return 0 if limit["limit"] is None or not limit["used"] else 100
    used: int = 100 * limit["used"] // limit["limit"]
    return min(100, used)
