"""What costs too much to make before it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Once(Generic[_T]):
    """Something that is made when it is first needed, by one thread, and kept."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: _T | None = None

    def __call__(self) -> _T:
        """Return it; an error in making it is raised again each time."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made
