"""Every address of the API, read from the URL configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from spoke.core.views import SpokeViewSet

# What stands for each path parameter: things that need not exist, since authorisation comes first.
SAMPLES: dict[str, object] = {
    "org": "acme",
    "name": "module",
    "version": "1.0.0",
    "path": "a.proto",
    "token": "A" * 43,
    "code": "free",
}


@dataclass(frozen=True)
class Route:
    """One method of one address."""

    method: str
    pattern: str
    view: type[SpokeViewSet]
    action: str

    def __str__(self) -> str:
        return f"{self.method} /{self.pattern}"

    def path(self, **values: object) -> str:
        """The address with every parameter filled in."""
        filled = "/" + self.pattern
        while "<" in filled:
            start, end = filled.index("<"), filled.index(">")
            name = filled[start + 1 : end].split(":")[-1]
            value = values.get(name, SAMPLES.get(name, 1))
            filled = f"{filled[:start]}{value}{filled[end + 1 :]}"
        return filled


def _walk(patterns: list[Any], prefix: str = "") -> Iterator[Route]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None)
            if isinstance(view, type) and issubclass(view, SpokeViewSet):
                for method, action in pattern.callback.actions.items():  # type: ignore[attr-defined]
                    if method != "head":
                        yield Route(method.upper(), prefix + str(pattern.pattern), view, action)


def api_routes() -> list[Route]:
    """Every method of every address that one of our views serves."""
    return sorted(_walk(get_resolver().url_patterns), key=lambda r: (r.pattern, r.method))
