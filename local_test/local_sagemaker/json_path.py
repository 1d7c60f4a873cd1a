"""The part of JSONPath that ``DataProcessing`` knows.

``$``, ``.name``, ``.*``, ``[*]``, ``['name']``, ``['a','b']``, ``[0]``, ``[0,2]``, ``[-1]``, ``[1:3]``, ``[1:]``,
``[:3]``. The end of a slice is exclusive, as in JSONPath; AWS's own page counts it in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]'"*?()@\s]+)
      | (?P<all>\.\*|\[\*\])
      | \[(?P<names>\s*(?:'[^']*'|"[^"]*")(?:\s*,\s*(?:'[^']*'|"[^"]*"))*\s*)\]
      | \[(?P<indices>\s*-?\d+(?:\s*,\s*-?\d+)*\s*)\]
      | \[\s*(?P<start>-?\d+)?\s*:\s*(?P<end>-?\d+)?\s*\]
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


class PathError(ValueError):
    """A path that is none, or that finds nothing in a record."""


@dataclass(frozen=True)
class _Names:
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Indices:
    indices: tuple[int, ...]


@dataclass(frozen=True)
class _Slice:
    start: int | None
    end: int | None


@dataclass(frozen=True)
class _All:
    pass


_Step = _Names | _Indices | _Slice | _All


@dataclass(frozen=True)
class JsonPath:
    """A path, ready to select.

    Attributes
    ----------
    text
        As it was written.
    steps
        What is done one after another.
    """

    text: str
    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Read a path.

        Raises
        ------
        PathError
            Where it is none, or beyond the supported part.
        """
        if not text.startswith("$"):
            raise PathError(f'"{text}" does not begin with $')
        steps: list[_Step] = []
        position = 1
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                raise PathError(
                    f"\"{text}\" is not supported from \"{text[position:]}\" on: use .name, ['a','b'], [0], [0,2], "
                    "[-1], [1:3] or *"
                )
            if steps and isinstance(steps[-1], _Names) and len(steps[-1].names) > 1:
                raise PathError(f'"{text}" goes on after a list of names: that list must come last')
            steps.append(_step(match))
            position = match.end()
        return cls(text=text, steps=tuple(steps))

    @property
    def is_root(self) -> bool:
        """Whether everything is selected."""
        return not self.steps

    @property
    def selects_by_name(self) -> bool:
        """Whether a step takes members of objects, which a row of CSV has not."""
        return any(isinstance(step, _Names) for step in self.steps)

    @property
    def has_slice_end(self) -> bool:
        """Whether a slice gives its end, about which AWS's page and JSONPath disagree."""
        return any(isinstance(step, _Slice) and step.end is not None for step in self.steps)

    def select(self, value: Any) -> Any:
        """Return what the path finds: one value, or a list where a step takes several.

        Several names give an object of those members.

        Raises
        ------
        PathError
            Where a name or an index is not there.
        """
        found, several = [value], False
        for step in self.steps:
            if isinstance(step, _Slice | _All) or (isinstance(step, _Indices) and len(step.indices) > 1):
                several = True
            found = [part for each in found for part in self._take(step, each)]
        return found if several else found[0]

    def _take(self, step: _Step, value: Any) -> Sequence[Any]:
        match step:
            case _Names(names=names):
                if not isinstance(value, dict):
                    raise PathError(f'"{self.text}" asks for "{names[0]}" of {_kind(value)}')
                if missing := [name for name in names if name not in value]:
                    raise PathError(f'"{self.text}" finds no "{missing[0]}"')
                return [value[names[0]]] if len(names) == 1 else [{name: value[name] for name in names}]
            case _All():
                if isinstance(value, dict):
                    return list(value.values())
                return self._array(value)
            case _Slice(start=start, end=end):
                return self._array(value)[start:end]
            case _Indices(indices=indices):
                array = self._array(value)
                if outside := [index for index in indices if not -len(array) <= index < len(array)]:
                    raise PathError(f'"{self.text}" asks for index {outside[0]} of {len(array)} values')
                return [array[index] for index in indices]

    def _array(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise PathError(f'"{self.text}" asks for elements of {_kind(value)}')
        return value


def _step(match: re.Match[str]) -> _Step:
    if match["name"] is not None:
        return _Names((match["name"],))
    if match["all"] is not None:
        return _All()
    if match["names"] is not None:
        return _Names(tuple(single or double for single, double in _QUOTED.findall(match["names"])))
    if match["indices"] is not None:
        return _Indices(tuple(int(index) for index in match["indices"].split(",")))
    return _Slice(*(int(bound) if bound is not None else None for bound in (match["start"], match["end"])))


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
