"""Results that are kept for the next time they are asked for, up to a number of bytes."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Kept"]

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values of a pure function by its arguments; the ones that were not asked for the longest are forgotten.

    Counting bytes and not values keeps the many small grids of a federation's sites and the few huge ones of rare
    settings within the same memory. Threads may share it.
    """

    def __init__(self, *, bytes: int, size: Callable[[Value], int]) -> None:
        self._limit = bytes
        self._size = size
        self._used = 0
        self._values: dict[Hashable, Value] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value for `key`, made if it is not there."""
        with self._lock:
            found = self._values.pop(key, None)
            if found is not None:
                self._values[key] = found
                return found
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._used += self._size(value)
            while self._used > self._limit and len(self._values) > 1:
                self._used -= self._size(self._values.pop(next(iter(self._values))))
        return value
