"""Typed options: frozen dataclasses whose fields carry their sentence, range and aliases once.

The hyperparameter parser, the error messages and the tables of the README all read them from here::

    @dataclass(frozen=True, kw_only=True)
    class ALSConfig:
        epochs: int = option(16, "Sweeps over the data.", minimum=1, maximum=10_000, aliases=("n_iter",))

        def __post_init__(self) -> None:
            check_ranges(self)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from factorbox.errors import UserError

_KEY = "factorbox.option"


@dataclass(frozen=True)
class Option:
    """One field of a configuration: what it means and which values it takes."""

    name: str
    type: Any
    default: Any
    help: str
    aliases: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    above: float | None
    choices: tuple[str, ...]

    def range_text(self) -> str:
        """Say the allowed values in words, for errors and tables (empty where everything goes)."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = ((">", self.above), ("≥", self.minimum), ("≤", self.maximum))
        return ", ".join(f"{sign} {bound:,}" for sign, bound in bounds if bound is not None)

    def check(self, value: Any) -> None:
        """Raise `UserError` where `value` is outside the range of this option."""
        if value is None:
            return
        bad = bool(self.choices) and value not in self.choices
        if isinstance(value, int | float) and not isinstance(value, bool):
            bad |= not math.isfinite(value)
            bad |= self.minimum is not None and value < self.minimum
            bad |= self.maximum is not None and value > self.maximum
            bad |= self.above is not None and value <= self.above
        if bad:
            allowed = self.range_text() or "a finite number"
            raise UserError(f"{self.name}={value!r} is out of range: give a value that is {allowed}")


def option(
    default: Any,
    help: str,
    *,
    aliases: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a dataclass field with its sentence, its range and the other names it is known by.

    `above` is an exclusive lower bound, `minimum` and `maximum` are inclusive.
    """
    metadata = dict(help=help, aliases=aliases, minimum=minimum, maximum=maximum, above=above, choices=choices)
    return field(default=default, metadata=MappingProxyType({_KEY: metadata}))


def options_of(config: type[Any]) -> Mapping[str, Option]:
    """Return the options of a configuration class by name, in the order of their declaration."""
    types = get_type_hints(config)
    return {
        f.name: Option(name=f.name, type=types[f.name], default=f.default, **f.metadata[_KEY])
        for f in fields(config)
        if _KEY in f.metadata
    }


def check_ranges(config: Any) -> None:
    """Raise `UserError` for the first field of a configuration that is outside its range."""
    for name, declared in options_of(type(config)).items():
        declared.check(getattr(config, name))
