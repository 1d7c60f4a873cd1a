from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, PAIRS, RATINGS, Feedback
from factorbox.data.fields import MAX_WEIGHT, MIN_WEIGHT
from factorbox.data.weights import WeightRule

LOW = "or set the hyperparameter min_rating to drop low values (not with filters=any)"


@pytest.mark.parametrize(
    ("feedback", "good", "bad"),
    [
        (IMPLICIT, [MIN_WEIGHT, 1.0, MAX_WEIGHT], [0.0, -1.0, MIN_WEIGHT / 2, 2 * MAX_WEIGHT]),
        (PAIRS, [MIN_WEIGHT, MAX_WEIGHT], [0.0]),
        (RATINGS, [-MAX_WEIGHT, -1.0, 0.0, 1e-300, MAX_WEIGHT], [-2 * MAX_WEIGHT, 2 * MAX_WEIGHT]),
        (COUNTS, [0.0, -0.0, 1e-300, MAX_WEIGHT], [-1e-300, 2 * MAX_WEIGHT]),
        (CELLS, [0.0, MAX_WEIGHT], [-1.0]),
    ],
)
def test_each_kind_of_feedback_has_its_range(feedback: Feedback, good: list[float], bad: list[float]) -> None:
    rule = WeightRule(feedback=feedback, min_rating=None)
    assert rule.usable(np.array(good)).all()
    assert not rule.usable(np.array([*bad, np.nan, np.inf, -np.inf])).any()


@given(
    weights=st.lists(st.floats()),
    feedback=st.sampled_from([IMPLICIT, RATINGS, COUNTS]),
    min_rating=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_one_weight_is_judged_like_many(weights: list[float], feedback: Feedback, min_rating: float | None) -> None:
    rule = WeightRule(feedback=feedback, min_rating=min_rating)
    assert rule.usable(np.array(weights)).tolist() == [bool(rule.usable(weight)) for weight in weights]


@pytest.mark.parametrize(
    ("feedback", "weight", "min_rating", "fault"),
    [
        (IMPLICIT, 0.0, None, f"a weight must be a finite number above 0 (from 1.2e-38 to 3.4e38); {{}}, {LOW}"),
        (CELLS, -1.0, None, f"a rating must be a finite number of at least 0 (up to 3.4e38); {{}}, {LOW}; {{more}}"),
        (COUNTS, -1.0, -2.0, "{}, or raise min_rating=-2: it drops only the rows whose weight is below it; {more}"),
        (COUNTS, float("nan"), None, "a rating must be a finite number of at least 0 (up to 3.4e38); {}"),
        (RATINGS, 1e39, None, "a rating must be a finite number (up to 3.4e38); {}"),
        (RATINGS, float("-inf"), None, "a rating must be a finite number (up to 3.4e38); {}"),
    ],
)
def test_the_remedy_fits_the_feedback(feedback: Feedback, weight: float, min_rating: float | None, fault: str) -> None:
    expected = fault.format(
        "mend or remove the row", more="algorithm=explicit with loss=squared takes negative ratings"
    )
    assert WeightRule(feedback=feedback, min_rating=min_rating).fault(weight).endswith(expected)
