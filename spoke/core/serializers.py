"""Strict serializers: a field that is not known is refused by its name."""

import threading
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar

from django.http import QueryDict
from rest_framework import serializers

UNKNOWN = "This field is not known."
REPEATED = "This parameter is sent more than once."
MAX_UNKNOWN = 100  # fields named in one refusal
_own = threading.local()


def represent(
    kind: type[serializers.Serializer[Any]], instance: Any, context: Mapping[str, Any]
) -> dict[str, Any]:
    """What `kind(instance, context=context).data` is, for a fraction of its time.

    A serializer copies all of its fields whenever it is made; each thread makes one of a kind.
    """
    made: dict[Any, Any] = _own.__dict__.setdefault("serializers", {})
    serializer = made.get(kind)
    if serializer is None:
        serializer = made[kind] = kind()
    serializer._context = context
    try:
        return dict(serializer.to_representation(instance))
    finally:
        serializer._context = {}


class StrictSerializer(serializers.Serializer[Any]):
    """Input of a request. Unknown and read-only fields are refused, not dropped."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            unknown = [
                str(name)[:64]
                for name in islice((name for name in data if name not in writable), MAX_UNKNOWN)
            ]
            if unknown:
                raise serializers.ValidationError(
                    {name: [UNKNOWN] for name in unknown}, code="unknown_field"
                )
        return super().to_internal_value(data)


class StrictQuerySerializer(StrictSerializer):
    """Query parameters, each sent once unless it is a list. As it stands it takes none.

    Which action takes which a view says in `queries`.
    """

    PASSED: ClassVar[frozenset[str]] = frozenset()  # judged elsewhere

    def to_internal_value(self, data: QueryDict) -> Any:
        sent: dict[str, Any] = {}
        repeated = {}
        for name, values in data.lists():
            if isinstance(self.fields.get(name), serializers.ListField):
                sent[name] = values
            elif len(values) > 1 and (name in self.fields or name in self.PASSED):
                repeated[name] = [REPEATED]
            elif name not in self.PASSED:
                sent[name] = values[0]
        if repeated:
            raise serializers.ValidationError(repeated, code="repeated")
        return super().to_internal_value(sent)


class PageQuerySerializer(StrictQuerySerializer):
    """Those of a list, whose pages `spoke.core.pagination` makes."""

    PASSED = frozenset({"cursor", "limit"})


class BoundedListField(serializers.ListField):
    """A list whose `max_length` is looked at before its items are, which may be millions."""

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)
        self.most = max_length

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list) and len(data) > self.most:
            self.fail("max_length", max_length=self.most)
        return super().to_internal_value(data)


class JSONObjectField(serializers.JSONField):
    """A JSON object of bounded size, in characters of its JSON text."""

    def __init__(self, *, max_length: int = 16_384, **kwargs: Any) -> None:
        self.max_length = max_length
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("A JSON object is expected.", code="invalid")
        if len(str(value)) > self.max_length:
            raise serializers.ValidationError(
                f"Larger than {self.max_length} characters.", code="max_length"
            )
        return value
