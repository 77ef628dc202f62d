"""JSON in: what cannot be stored or would harm the server is refused here, with its place named."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import BaseParser

from spoke.core.errors import PayloadTooLarge

MAX_DEPTH = 32
# Values in a body. Millions of tiny ones take seconds and gigabytes; a thousand files are 3,000.
MAX_VALUES = 50_000
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_INTEGER = 2**63 - 1  # PostgreSQL's bigint


def read_body(stream: IO[bytes], limit: int) -> bytes:
    """The body, read no further than `limit` bytes. Raises PayloadTooLarge beyond."""
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise PayloadTooLarge(f"The body is larger than {limit} bytes.", limit=limit)
    return body


def require_few_values(body: bytes, most: int) -> None:
    """Refuses JSON text of more than `most` values before any of them is made.

    It looks for what separates values: outside of strings, in which there may be any number of commas.
    Raises PayloadTooLarge.
    """
    if _separators(body) <= most:
        return
    # Of two strings to a value, a name and itself; with more the text is not looked at to its end.
    bare, strings = STRING.subn(b"", body, count=2 * most + 1)
    if strings > 2 * most or _separators(bare) > most:
        raise PayloadTooLarge(f"The body holds more than {most} values.", code="too_many_values")


def _separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return result


def parse_json(body: bytes) -> Any:
    """JSON text as Python values.

    Raises ParseError (not JSON), PayloadTooLarge (too many values) or ValidationError (not storable).
    """
    require_few_values(body, MAX_VALUES)
    try:
        data = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_pairs,
        )
    except UnicodeDecodeError as exc:
        raise ParseError(f"The body is not UTF-8 at byte {exc.start}.") from exc
    except RecursionError as exc:
        raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.") from exc
    except ValueError as exc:
        raise ParseError(f"The body is not valid JSON: {exc}.") from exc
    _check(data)
    return data


def _check(data: Any) -> None:
    """Walks the values without recursion and refuses what the database or the code cannot hold.

    Beside the values it keeps what it is in the midst of, and no list of what is still to come.
    """
    under_way: list[Iterator[tuple[Any, Any]]] = [iter([(None, data)])]
    path: list[Any] = [None]  # the key at each level; the body has none
    while under_way:
        path[-1], value = next(under_way[-1], (None, under_way))
        if value is under_way:  # no more of them
            under_way.pop()
            path.pop()
        elif len(path) > MAX_DEPTH + 1:
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        elif isinstance(value, str):
            _check_text(value, path)
        elif isinstance(value, int | float):
            if abs(value) > MAX_INTEGER:
                _refuse(path, "number_too_large", "This number is too large.")
        elif isinstance(value, dict | list):
            if isinstance(value, dict):
                for key in value:
                    _check_text(key, path)
            under_way.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))
            path.append(None)


def _check_text(text: str, path: list[Any]) -> None:
    if "\x00" in text:
        _refuse(path, "null_characters_not_allowed", "Null characters are not allowed.")
    if not text.isascii() and LONE_SURROGATE.search(text):
        _refuse(path, "surrogate_characters_not_allowed", "Lone surrogates are not allowed.")


def _refuse(path: list[Any], code: str, detail: str) -> None:
    # The path is shortened: its parts came from the client and may be long.
    parts = (str(part)[:64].encode("utf-8", "replace").decode() for part in path[1:])
    name = ".".join(parts).replace("\x00", "�")
    raise ValidationError({name or "non_field_errors": [detail]}, code=code)


class StrictJSONParser(BaseParser):
    """Parses application/json up to MAX_BODY_BYTES."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.MAX_BODY_BYTES
        view = (parser_context or {}).get("view")
        limit = getattr(view, "max_body_bytes", limit)
        body = read_body(stream, limit)
        return parse_json(body) if body else {}
