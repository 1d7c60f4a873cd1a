"""The values of a decoded record, as a strict parser gives them, and how errors quote them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

_SHOWN = 80


class Bare(str):
    """Text that stands without quotation marks in a JSON document, and so in errors: a number, true, null."""

    __slots__ = ()


class JsonNumber(Bare):
    """A number of a JSON document, as it is written there."""

    __slots__ = ()


class JsonInteger(JsonNumber):
    """A JSON number without fraction and exponent."""

    __slots__ = ()


class JsonFields(dict[str, object]):
    """A JSON object that remembers whether a key came twice."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: str | None = None
        if len(self) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.repeated = next(name for name, count in counts.items() if count > 1)


def shortened(text: str) -> str:
    """Return text that is short and encodable enough to be quoted in an error."""
    text = text[:_SHOWN] + "..." if len(text) > _SHOWN else text
    return text.encode("utf-8", "backslashreplace").decode()


def as_text(value: object) -> str:
    """Return a decoded value as the short text that an error quotes."""
    if isinstance(value, list):
        return Bare("[...]" if value else "[]")
    if isinstance(value, Mapping):
        return Bare("{...}" if value else "{}")
    if isinstance(value, str):
        return Bare(shortened(value)) if isinstance(value, Bare) else shortened(value)
    return Bare(json.dumps(value))


def raw_text(line: bytes) -> str:
    """Return a whole record, which may be anything, as the short text that an error quotes."""
    return Bare(shortened(line[: 4 * _SHOWN + 4].decode(errors="backslashreplace")))


def quoted(text: str) -> str:
    """Quote a text so that it stays in one line, whatever it holds."""
    bare = isinstance(text, Bare) and text.isprintable()
    return text if bare else json.dumps(text, ensure_ascii=not text.isprintable())
