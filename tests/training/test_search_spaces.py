"""The ranges of a search are values that jobs take, whoever searches."""

from __future__ import annotations

from typing import Any

import pytest

from factorbox.errors import UserError
from factorbox.models import ALGORITHMS
from factorbox.training.job import read_job
from factorbox.training.search_spaces import (
    SEARCH_SPACES,
    Choices,
    Numbers,
    parameter_ranges,
    read_parameter_ranges,
)


def test_every_algorithm_has_a_space() -> None:
    assert SEARCH_SPACES.keys() == ALGORITHMS.keys()


@pytest.mark.parametrize("algorithm", SEARCH_SPACES)
def test_a_job_takes_every_bound_and_choice(algorithm: str) -> None:
    for name, one in SEARCH_SPACES[algorithm].items():
        values = one.values if isinstance(one, Choices) else (one.low, one.high)
        for value in values:
            job = read_job({"algorithm": algorithm, name: str(value)})
            taken = getattr(job.config, name)
            assert taken == value or float(taken) == value
        if isinstance(one, Numbers):
            assert one.low < one.high and (one.low > 0 or not one.logarithmic)


@pytest.mark.parametrize("algorithm", SEARCH_SPACES)
def test_a_space_survives_being_written_and_read(algorithm: str) -> None:
    space = SEARCH_SPACES[algorithm]
    written = {"HyperParameterTuningJobConfig": {"Strategy": "Bayesian", "ParameterRanges": parameter_ranges(space)}}
    assert read_parameter_ranges(written) == space


def continuous(**changes: Any) -> dict[str, Any]:
    entry = {"Name": "regularization", "MinValue": "0.1", "MaxValue": "1", "ScalingType": "Logarithmic", **changes}
    return {"ContinuousParameterRanges": [entry]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "there is no ParameterRanges"),
        ({"a": {"b": 1}}, "there is no ParameterRanges"),
        ({"ContinuousParameterRanges": []}, "names no hyperparameter"),
        ({"CategoricalParameterRanges": [{"Name": "loss", "Values": []}]}, "it has no values"),
        (continuous(MinValue="2"), "MinValue must be below MaxValue"),
        (continuous(MinValue="0"), "above 0 where the scaling is logarithmic"),
        (continuous(MinValue="x"), "could not convert"),
        (continuous(ScalingType="ReverseLogarithmic"), "here it is Linear or Logarithmic"),
        ({"IntegerParameterRanges": [{"Name": "epochs"}]}, "MinValue"),
        ({**continuous(), "IntegerParameterRanges": None}, "IntegerParameterRanges is None, not a list"),
        ({"IntegerParameterRanges": ["epochs"]}, "IntegerParameterRanges has an entry that is none: epochs"),
    ],
)
def test_what_is_no_space_is_refused_with_its_place(content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_parameter_ranges(content)
