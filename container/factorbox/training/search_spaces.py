"""What is worth trying of each algorithm's hyperparameters: the ranges of a search, for Optuna and for SageMaker alike.

The bounds lie well around the defaults and around what was best on the data of `local_test/benchmarks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from factorbox.errors import UserError
from factorbox.models.confidence import TRANSFORMS

_SCALING = {True: "Logarithmic", False: "Linear"}


@dataclass(frozen=True)
class Numbers:
    """An interval of numbers, with its ends.

    Attributes
    ----------
    low, high
        The ends.
    logarithmic
        Whether factors count rather than differences.
    whole
        Whether only whole numbers are meant.
    """

    low: float
    high: float
    logarithmic: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Choices:
    """A few values without an order."""

    values: tuple[str, ...]


Range = Numbers | Choices
SearchSpace = Mapping[str, Range]

_DIMENSION = Numbers(16, 256, whole=True)
_SAMPLED: SearchSpace = {
    "embedding_dim": _DIMENSION,
    "epochs": Numbers(5, 160, whole=True),
    "learning_rate": Numbers(0.01, 0.5),
    "regularization": Numbers(0.001, 0.3),
}

SEARCH_SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {
        # alpha is not searched: unobserved_weight and regularization stand in relation to it.
        "als": {
            "embedding_dim": _DIMENSION,
            "epochs": Numbers(4, 32, whole=True),
            "unobserved_weight": Numbers(0.003, 1),
            "regularization": Numbers(0.0003, 1),
            "regularization_exponent": Numbers(0.5, 1, logarithmic=False),
            "confidence": Choices(TRANSFORMS),
        },
        "bpr": _SAMPLED,
        "hinge": _SAMPLED,
        "adaptive_hinge": {**_SAMPLED, "num_negative_samples": Numbers(2, 32, whole=True)},
        "pointwise": _SAMPLED,
        "softmax": {
            "embedding_dim": _DIMENSION,
            "epochs": Numbers(5, 60, whole=True),
            "temperature": Numbers(0.05, 1),
            "learning_rate": Numbers(0.02, 0.5),
        },
        "explicit": {
            "embedding_dim": _DIMENSION,
            "epochs": Numbers(5, 60, whole=True),
            "learning_rate": Numbers(0.01, 0.2),
            "regularization": Numbers(0.01, 0.3),
        },
        "nmf": {
            "embedding_dim": _DIMENSION,
            "regularization": Numbers(1, 300),
            "init": Choices(("nndsvd", "random")),
        },
        "mlp": {
            "embedding_dim": _DIMENSION,
            "epochs": Numbers(5, 60, whole=True),
            "learning_rate": Numbers(0.001, 0.03),
            "dropout_before": Numbers(0, 0.6, logarithmic=False),
            "dropout_after": Numbers(0, 0.9, logarithmic=False),
        },
    }
)
"""The search space of each algorithm by its name."""


def parameter_ranges(space: SearchSpace) -> dict[str, list[dict[str, Any]]]:
    """Return a space as `ParameterRanges` of `create_hyper_parameter_tuning_job` has it."""
    ranges: dict[str, list[dict[str, Any]]] = {
        "ContinuousParameterRanges": [],
        "IntegerParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for name, one in space.items():
        if isinstance(one, Choices):
            ranges["CategoricalParameterRanges"].append({"Name": name, "Values": list(one.values)})
            continue
        ranges["IntegerParameterRanges" if one.whole else "ContinuousParameterRanges"].append(
            {
                "Name": name,
                "MinValue": _bound(one.low, whole=one.whole),
                "MaxValue": _bound(one.high, whole=one.whole),
                "ScalingType": _SCALING[one.logarithmic],
            }
        )
    return ranges


def read_parameter_ranges(content: Any) -> SearchSpace:
    """Read a space from `ParameterRanges`, or from anything that holds it, as `parameter_ranges` writes it.

    Raises
    ------
    UserError
        Where it is none; the message names the range.
    """
    ranges = _found(content)
    if ranges is None:
        raise UserError("there is no ParameterRanges: give JSON such as tune.py --ranges prints")
    space: dict[str, Range] = {}
    for kind in ("ContinuousParameterRanges", "IntegerParameterRanges", "CategoricalParameterRanges"):
        entries = ranges.get(kind, [])
        if not isinstance(entries, list):
            raise UserError(f"{kind} is {entries!r}, not a list of ranges: give a list, or leave it out")
        for entry in entries:
            try:
                space[entry["Name"]] = _read(entry, kind=kind)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{kind} has an entry that is none: {entry} ({error!r})") from None
    if not space:
        raise UserError("ParameterRanges names no hyperparameter: give at least one range")
    return space


def _bound(number: float, *, whole: bool) -> str:
    return str(int(number)) if whole else f"{number:g}"


def _found(content: Any) -> Mapping[str, Any] | None:
    if not isinstance(content, dict):
        return None
    if any(str(key).endswith("ParameterRanges") and isinstance(value, list) for key, value in content.items()):
        return content
    return next((found for value in content.values() if (found := _found(value)) is not None), None)


def _read(entry: Mapping[str, Any], *, kind: str) -> Range:
    if kind == "CategoricalParameterRanges":
        values = tuple(map(str, entry["Values"]))
        if not values:
            raise ValueError("it has no values")
        return Choices(values)
    low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    scaling = entry.get("ScalingType", "Linear")
    if scaling not in _SCALING.values():
        raise ValueError(f"ScalingType is {scaling}, and here it is Linear or Logarithmic")
    logarithmic = scaling == "Logarithmic"
    if not low < high or (logarithmic and low <= 0):
        raise ValueError("MinValue must be below MaxValue, and above 0 where the scaling is logarithmic")
    return Numbers(low, high, logarithmic=logarithmic, whole=kind == "IntegerParameterRanges")
