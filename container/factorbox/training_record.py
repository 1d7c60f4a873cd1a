"""What a training tells of itself in the manifest: how good the model is, and how it came to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from factorbox.errors import AlgorithmError

RECORDS = ("validation", "learning_curve")
"""The entries that a record may have, in the order in which the manifest has them. A manifest without one says that
nothing was measured; one of format version 3 or older never has any."""
MOST_POINTS = 1_000
"""Points of a learning curve that a manifest keeps."""


def recorded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record as the manifest has them.

    A number that is not finite becomes null, since JSON has none such: a metric that nothing was there to measure, or
    the loss of an epoch that diverged, is no reason to lose the model. Of a learning curve with more than
    `MOST_POINTS` points as many are kept, evenly spread, among them the first and the last.

    Parameters
    ----------
    record
        `validation`: a mapping; `learning_curve`: a sequence of mappings, one an epoch. Mappings, sequences, texts,
        numbers of Python and numpy, and None may stand in them. An entry that is None is left out.

    Raises
    ------
    AlgorithmError
        Where the record holds anything else.
    """
    unknown = sorted(record.keys() - set(RECORDS))
    if unknown:
        raise AlgorithmError(f"the record of a training has {', '.join(RECORDS)}, and no {', '.join(unknown)}")
    kept = {name: record[name] for name in RECORDS if record.get(name) is not None}
    if "learning_curve" in kept:
        kept["learning_curve"] = _thinned(kept["learning_curve"])
    plain = {name: _plain(value, place=name) for name, value in kept.items()}
    if not holds_sound_records(plain):
        raise AlgorithmError("of the record of a training, validation is a mapping and learning_curve a list of those")
    return plain


def holds_sound_records(manifest: Mapping[str, Any]) -> bool:
    """Return whether the records in a manifest, if it has any, have the right types."""
    validation, curve = manifest.get("validation", {}), manifest.get("learning_curve", [])
    return (
        isinstance(validation, dict)
        and isinstance(curve, list)
        and len(curve) <= MOST_POINTS
        and all(isinstance(point, dict) for point in curve)
    )


def _thinned(curve: Sequence[Any]) -> Sequence[Any]:
    if len(curve) <= MOST_POINTS:
        return curve
    last = MOST_POINTS - 1
    return [curve[point * (len(curve) - 1) // last] for point in range(MOST_POINTS)]


def _plain(value: object, *, place: str) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(part, place=f"{place}.{key}") for key, part in value.items()}
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, bytes | bytearray):
        return [_plain(part, place=f"{place}[{position}]") for position, part in enumerate(value)]
    raise AlgorithmError(f"{place} of the record of a training is a {type(value).__name__}, which JSON cannot hold")
