"""Packages that others import wherever they are installed, kept out of a process that does without them.

pyarrow imports pandas, and numba scipy: for a server that is half a second of its start. The image has neither.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class _Refused:
    """A finder that finds some packages nowhere."""

    names: Collection[str]

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self.names:
            raise ModuleNotFoundError(f"this process does without {name}", name=name)


def refuse_imports(*names: str) -> None:
    """Let imports of these packages fail from now on, as where they are not installed."""
    sys.meta_path.insert(0, _Refused(names))
