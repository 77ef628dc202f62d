"""Form bodies as Stripe's clients send them: a[b][0][c]=d, and what is read out of them."""

import re
from typing import Any
from urllib.parse import parse_qsl

from spoke.devservers.stripe.errors import Refusal, invalid

PART = re.compile(r"[^\[\]]+|\[\]")


def parse(body: str) -> dict[str, Any]:
    """A form as nested dicts and lists; every leaf is text."""
    root: dict[str, Any] = {}
    for key, value in parse_qsl(body, keep_blank_values=True):
        place = root
        *outer, last = PART.findall(key) or [key]
        for part in outer:
            place = place.setdefault(_name(part, place), {})
            if not isinstance(place, dict):
                raise Refusal(f"Invalid parameters: {key}", param=key)
        place[_name(last, place)] = value
    return {key: _lists(value) for key, value in root.items()}


def _name(part: str, place: dict[str, Any]) -> str:
    return str(len(place)) if part == "[]" else part


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def known(params: dict[str, Any], names: str) -> None:
    """Refuses what is not among the names, which are separated by blanks."""
    allowed = {*names.split(), "expand"}
    for name in params:
        if name not in allowed:
            raise Refusal(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def integer(params: dict[str, Any], name: str, default: int | None = None) -> int | None:
    """A whole number, or the default."""
    value = params.get(name)
    if value in (None, ""):
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise invalid(f"Invalid integer: {value}", name, "parameter_invalid_integer") from None


def flag(params: dict[str, Any], name: str, *, default: bool = False) -> bool:
    """true or false."""
    value = params.get(name)
    if value in (None, ""):
        return default
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", name)
    return bool(value == "true")


def text(params: dict[str, Any], name: str, default: Any = None) -> Any:
    """Text; what is sent empty is unset."""
    value = params.get(name, default)
    return None if value == "" else value


def required(params: dict[str, Any], name: str) -> Any:
    """What has to be sent."""
    value = params.get(name)
    if value in (None, ""):
        raise Refusal(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return value


def metadata(before: dict[str, str], params: dict[str, Any]) -> dict[str, str]:
    """Metadata after a write: keys sent are set, keys sent empty are gone."""
    sent = params.get("metadata")
    if sent is None:
        return before
    if sent == "":
        return {}
    merged = {**before, **sent}
    return {key: value for key, value in merged.items() if value != ""}
