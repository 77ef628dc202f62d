"""Which request is answered by what."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from spoke.devservers.stripe import forms
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.store import Object, Store, listing

Handler = Callable[..., Any]
Registered = TypeVar("Registered", bound=Handler)
# Parameters of every list.
PAGING = "limit starting_after ending_before"
MOST = 100


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    names: str
    handler: Handler


ROUTES: list[Route] = []


def route(method: str, path: str, names: str = "") -> Callable[[Registered], Registered]:
    """Registers a handler; {} in the path stands for an id, `names` are the parameters it takes."""
    pattern = re.compile(path.replace("{}", r"([^/]+)") + "$")

    def register(handler: Registered) -> Registered:
        ROUTES.append(Route(method, pattern, names, handler))
        return handler

    return register


def answer(store: Store, method: str, path: str, params: dict[str, Any]) -> Any:
    """What a request is answered. Raises Refusal."""
    # A path that is spelled out goes before one with an id in its place.
    for entry in sorted(ROUTES, key=lambda entry: entry.pattern.groups):
        matched = entry.pattern.match(path)
        if matched and entry.method == method:
            forms.known(params, entry.names)
            return entry.handler(store, params, *matched.groups())
    raise Refusal(f"Unrecognized request URL ({method}: {path}).", status=404)


def page(rows: list[Object], params: dict[str, Any], url: str) -> Object:
    """One page of rows that stand newest first."""
    limit = forms.integer(params, "limit", 10) or 10
    if not 1 <= limit <= MOST:
        raise Refusal("Invalid limit: between 1 and 100.", param="limit")
    ids = [row["id"] for row in rows]
    after, before = params.get("starting_after"), params.get("ending_before")
    for name in (after, before):
        if name and name not in ids:
            raise Refusal(f"No such object: '{name}'", code="resource_missing", status=404)
    if before:
        upper = rows[: ids.index(before)]
        return listing(upper[-limit:], url, more=len(upper) > limit)
    rest = rows[ids.index(after) + 1 :] if after else rows
    return listing(rest[:limit], url, more=len(rest) > limit)


def matching(rows: list[Object], params: dict[str, Any], names: str) -> list[Object]:
    """Those whose members are as asked; `created` may be a range."""
    found = rows
    for name in names.split():
        wanted = params.get(name)
        if wanted in (None, ""):
            continue
        if name == "created" and isinstance(wanted, dict):
            found = [
                row
                for row in found
                if _within(row["date"] if "date" in row else row["created"], wanted)
            ]
        else:
            found = [row for row in found if _same(row.get(name), wanted)]
    return found


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted
    return str(value) == wanted


def _within(created: int, bounds: dict[str, str]) -> bool:
    return all(
        {
            "gt": created > int(bound),
            "gte": created >= int(bound),
            "lt": created < int(bound),
            "lte": created <= int(bound),
        }[name]
        for name, bound in bounds.items()
    )


def lists(kind: str, path: str, filters: str = "") -> None:
    """Registers the list of a kind, and reading one of it."""

    def all_of(store: Store, params: dict[str, Any]) -> Object:
        rows = matching(store.newest(kind), params, filters)
        return page(rows, params, path)

    def one_of(store: Store, params: dict[str, Any], name: str) -> Object:
        return store.get(kind, name)

    route("GET", path, f"{PAGING} {filters}")(all_of)
    route("GET", f"{path}/{{}}")(one_of)


def empty(path: str) -> None:
    """Registers a list that has nothing in it, of what Spoke does not use."""

    def nothing(store: Store, params: dict[str, Any]) -> Object:
        return listing([], path)

    route("GET", path, f"{PAGING} customer type active")(nothing)
