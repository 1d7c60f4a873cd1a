"""Hyperparameters: texts in a JSON object, turned into typed options.

Clients spell the same value differently: boto3 as given, SDK v2 by `str()`, SDK v3 as JSON, framework estimators as
quoted JSON. All are read; a key or value that makes no sense is refused with what would.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from factorbox.errors import UserError
from factorbox.options import Option, options_of

Config = TypeVar("Config")

TUNING_OBJECTIVE = "_tuning_objective_metric"
"""What a tuning job adds: the name of the metric that it compares its training jobs by."""

_SHOWN = 80
_WORDS = {"true": True, "false": False, "1": True, "0": False}


class Hyperparameters:
    """The given hyperparameters; configurations take theirs, and `refuse_rest` names what nobody took.

    Parameters
    ----------
    raw
        The content of hyperparameters.json. Keys that begin with `_` or `sagemaker_` belong to the platform; a value
        of None, or the text `None` or `null`, is the same as no value.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._given = {
            key: value
            for key, value in ((key, _unquoted(value)) for key, value in raw.items())
            if not key.startswith(("_", "sagemaker_")) and value not in (None, "None", "null")
        }
        self._known: set[str] = set()

    def take(self, config: type[Config]) -> Config:
        """Build a configuration from the hyperparameters that are its own, under any of their names.

        Raises
        ------
        UserError
            For a value of the wrong type or out of range, and for two names of one hyperparameter.
        """
        values: dict[str, Any] = {}
        for name, declared in options_of(config).items():
            names = (name, *declared.aliases)
            self._known.update(names)
            given = [n for n in names if n in self._given]
            if len(given) > 1:
                raise UserError(f"{given[0]} and {given[1]} are the same hyperparameter: give one of them")
            if given:
                values[name] = _typed(given[0], self._given[given[0]], declared)
        return config(**values)

    def refuse_rest(self, *, elsewhere: Mapping[str, str]) -> None:
        """Raise `UserError` for the first hyperparameter that no configuration took.

        Parameters
        ----------
        elsewhere
            Names that exist for other settings, each with a sentence that says for which.
        """
        for key in self._given:
            if key in self._known:
                continue
            if key in elsewhere:
                raise UserError(elsewhere[key])
            near = difflib.get_close_matches(key, sorted(self._known | set(elsewhere)), n=1, cutoff=0.0)
            raise UserError(f"unknown hyperparameter {shown(key)}: did you mean {near[0]!r}? Correct or remove it")


def shown(value: Any) -> str:
    """Return a value as an error shows it: quoted, escaped, and short enough to leave room for the remedy."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _unquoted(value: Any) -> Any:
    """Take one layer of JSON quotes off a text."""
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _typed(name: str, value: Any, declared: Option) -> Any:
    kind = _plain_type(declared.type)
    typed = _READERS[kind](value)
    if typed is None:
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
        extent = f" ({declared.range_text()})" if declared.range_text() else ""
        raise UserError(f"hyperparameter {name}={shown(value)} is not {wanted}{extent}")
    try:
        declared.check(typed)
    except UserError:
        raise UserError(
            f"hyperparameter {name}={shown(value)} is out of range: give a value that is {declared.range_text()}"
        ) from None
    return typed


def _plain_type(annotation: Any) -> type:
    """Return T for T and for `T | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(t for t in get_args(annotation) if t is not type(None))
    return cast(type, annotation)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value, re.ASCII):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    if number is None or number != int(number):
        return None
    # Above 2**53 a float is no longer the number that was written.
    return int(value) if isinstance(value, int) or str(value).strip().lstrip("+-").isdigit() else int(number)


def _truth(value: Any) -> bool | None:
    return _WORDS.get(str(value).strip().lower())


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        # Half of a surrogate pair is no text: it could be neither logged nor kept.
        return value if value.isprintable() or value.isspace() else None
    return str(value) if isinstance(value, int | float) else None


_READERS: Mapping[type, Any] = {int: _whole, float: _number, bool: _truth, str: _text}
