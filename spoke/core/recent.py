"""A bounded memory of what was used last."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Shared by the threads of a process; beyond `most`, what was not used for longest goes first."""

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._most = most
        self._items: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """What is remembered under the key."""
        with self._lock:
            value = self._items.get(key)
            if value is not None:
                self._items.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        """Remembers it."""
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            if len(self._items) > self._most:
                self._items.popitem(last=False)

    def drop(self, key: Key) -> None:
        """Forgets it."""
        with self._lock:
            self._items.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._items.clear()
