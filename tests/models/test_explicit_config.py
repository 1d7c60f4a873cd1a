"""The configuration of `explicit`: schedules of the learning rate, and what does not go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicit_support import ratings_for
from factorbox.errors import UserError
from factorbox.models.explicit import EXPLICIT
from factorbox.models.explicit_config import DEFAULT_EPOCHS, ExplicitConfig, Schedule

rates = st.floats(1e-8, 1e3)


@given(stages=st.lists(st.tuples(rates, st.integers(1, 50)), min_size=1, max_size=5), spaces=st.sampled_from(["", " "]))
def test_a_schedule_reads_as_it_is_written(stages: list[tuple[float, int]], spaces: str) -> None:
    schedule = Schedule.parse(f"{spaces},{spaces}".join(f"{rate!r}{spaces}x{epochs}" for rate, epochs in stages))
    planned = [rate for rate, epochs in stages for _ in range(epochs)]
    assert schedule.epochs == len(planned)
    assert [schedule.at(epoch) for epoch in range(1, len(planned) + 1)] == planned


@given(rate=rates, epoch=st.integers(1, 10_000))
def test_a_number_is_the_rate_of_every_epoch(rate: float, epoch: int) -> None:
    schedule = Schedule.parse(repr(rate))
    assert schedule.epochs is None and schedule.at(epoch) == rate


@given(text=st.text(alphabet="0123456789.x×,e+- ainf", max_size=12))
def test_any_text_is_a_schedule_of_positive_finite_rates_or_refused(text: str) -> None:
    try:
        schedule = Schedule.parse(text)
    except UserError as error:
        assert repr(text) in str(error)
    else:
        assert all(0 < rate < float("inf") and (epochs is None or epochs > 0) for rate, epochs in schedule.stages)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": "fast"}, r"learning_rate='fast': 'fast' is no learning rate; give a number such as 0.05"),
        ({"learning_rate": "0.1x5,0.01"}, r"'0.01' does not say for how many epochs.*as in 0.01x10"),
        ({"learning_rate": "0"}, r"must be above 0 and finite, not 0"),
        ({"learning_rate": "0.1x5,-1x2"}, r"must be above 0 and finite, not -1"),
        ({"learning_rate": "1e999"}, r"must be above 0 and finite, not 1e999"),
        ({"learning_rate": "0.1x0"}, r"'0.1x0' has no epochs"),
        ({"learning_rate": "0.1x5,"}, r"'' is no learning rate"),
        ({"learning_rate": "0.1x5", "epochs": 6}, r"epochs=6 and learning_rate='0.1x5' disagree: the schedule has 5"),
        ({"learning_rate": "0.1x99999,0.01x9999"}, r"the schedule has 109998 epochs: give at most 100,000"),
        ({"loss": "hinge"}, r"loss='hinge' is out of range.*squared, regression, logistic, poisson"),
        ({"like_above": 3.0}, r"like_above=3 makes labels, and loss=squared fits none: add loss=logistic"),
        ({"like_above": 3.0, "loss": "poisson"}, r"loss=poisson fits none"),
        ({"regularization": -1.0}, r"regularization=-1.0 is out of range"),
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused_with_the_remedy(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ExplicitConfig(**options)


def test_epochs_are_those_given_or_of_the_schedule_or_the_default(rng: np.random.Generator) -> None:
    interactions = ratings_for("squared", rng)

    def resolved(**options: Any) -> int | None:
        return EXPLICIT.resolved(ExplicitConfig(**options), interactions=interactions).epochs

    assert resolved() == DEFAULT_EPOCHS
    assert resolved(epochs=7) == 7
    assert resolved(learning_rate="0.1x3,0.01x4") == 7
    assert resolved(learning_rate="0.1x3,0.01x4", epochs=7) == 7


def test_regression_is_another_name_of_the_squared_loss() -> None:
    assert ExplicitConfig(loss="regression") == ExplicitConfig(loss="squared")


def test_a_learning_rate_may_be_a_number() -> None:
    given_as_number: dict[str, Any] = {"learning_rate": 0.1}
    assert ExplicitConfig(**given_as_number) == ExplicitConfig(learning_rate="0.1")
