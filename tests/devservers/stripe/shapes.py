"""What an object of Stripe looks like: by the pinned SDK's classes, and by Stripe's fixtures.

Where the two are of different versions of the API, the SDK is right: it is what Spoke is written to.
"""

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from stripe import ListObject, StripeObject

# https://github.com/stripe/openapi, openapi/fixtures3.json.
FIXTURES = Path(__file__).resolve().parents[4] / "shared/data/stripe/fixtures3.json"


@cache
def scope(module: str) -> dict[str, Any]:
    """The names of a module of the SDK, with those that it imports for type checkers only."""
    loaded = importlib.import_module(module)
    found = dict(vars(loaded))
    for block in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for entry in block.body:
                assert isinstance(entry, ast.ImportFrom)
                source = importlib.import_module(entry.module or "")
                for name in entry.names:
                    found[name.asname or name.name] = getattr(source, name.name)
    return found


@cache
def members_of(shape: type[StripeObject]) -> dict[str, Any]:
    """The annotated members of a class of the SDK, and their types."""
    names = scope(shape.__module__)
    hints = get_type_hints(shape, names, names)
    own = [base for base in shape.__mro__ if issubclass(base, StripeObject)]
    own = own[: own.index(StripeObject)]
    return {
        name: hint
        for name, hint in hints.items()
        if any(name in inspect.get_annotations(base) for base in own)
        and get_origin(hint) is not ClassVar
        and not name.startswith("_")
    }


def differences(hint: Any, value: Any, like: Any = None, at: str = "") -> Iterator[str]:
    """Where a value is not of the shape. `like`: the same part of Stripe's fixture, if there is one."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        yield from _of_any(get_args(hint), value, like, at)
    elif origin is Literal:
        if value not in get_args(hint):
            yield f"{at}: {value!r} is none of {', '.join(map(str, get_args(hint)))}"
    elif origin is list:
        yield from _of_list(get_args(hint)[0], value, like, at)
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
    elif origin is ListObject:
        yield from _of_list_object(get_args(hint)[0], value, like, at)
    elif inspect.isclass(origin or hint) and issubclass(origin or hint, StripeObject):
        yield from _of_class(origin or hint, value, like, at)
    elif not _is_a(hint, value):
        yield f"{at}: {value!r} is no {getattr(hint, '__name__', hint)}"


def _is_a(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    if hint in (int, float):
        allowed = (int,) if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    # An exact number travels as text.
    return isinstance(value, str if hint is Decimal else hint)


def _of_any(shapes: tuple[Any, ...], value: Any, like: Any, at: str) -> Iterator[str]:
    """Of the shape that fits best: what is named of an object by its kind, then the fewest faults."""
    if value is None and type(None) in shapes:
        return
    tried = []
    for shape in shapes:
        if shape is not type(None):
            found = list(differences(shape, value, like, at))
            if not found:
                return
            tried.append(found)
    yield from min(tried, key=len)


def _of_list(shape: Any, value: Any, like: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: {value!r} is no list"
        return
    first = like[0] if isinstance(like, list) and like else None
    for number, row in enumerate(value):
        yield from differences(shape, row, first, f"{at}[{number}]")


def _of_list_object(shape: Any, value: Any, like: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        yield f"{at}: {value!r} is no list of Stripe's"
        return
    # total_count is in answers to older clients, and none of ours reads it.
    if extra := set(value) - {"object", "data", "has_more", "url", "total_count"}:
        yield f"{at}: has {', '.join(sorted(extra))} besides"
    rows = like.get("data") if isinstance(like, dict) else None
    yield from _of_list(shape, value["data"], rows, f"{at}.data")


def _of_class(shape: type[StripeObject], value: Any, like: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no {shape.__qualname__}"
        return
    hints = members_of(shape)
    if not hints:
        return
    alike = like if isinstance(like, dict) else {}
    for name in sorted(set(value) - set(hints)):
        yield f"{at}.{name}: Stripe has none"
    for name, hint in hints.items():
        where = f"{at}.{name}"
        if name in value:
            if value[name] is None and name in alike and alike[name] is None:
                continue
            yield from differences(hint, value[name], alike.get(name), where)
        elif name in alike or not _may_be_absent(hint):
            yield f"{where}: is missing"


def _may_be_absent(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint)


def fixtures() -> dict[str, Any]:
    """Stripe's published fixtures by kind; empty where they are not beside the checkout."""
    if not FIXTURES.exists():
        return {}
    found: dict[str, Any] = json.loads(FIXTURES.read_text())["resources"]
    return found
