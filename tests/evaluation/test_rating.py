"""Errors of ratings against hand-computed cases and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from factorbox.errors import UserError
from factorbox.evaluation.rating import rating_metrics, shown_ratings


def test_errors_of_ratings_computed_by_hand() -> None:
    metrics = rating_metrics(np.array([3.0, 4.0, 1.0, 5.0]), np.array([4.0, 4.0, 3.0, 2.0]))
    assert metrics.pairs == 4
    assert metrics.rmse == pytest.approx(math.sqrt((1 + 0 + 4 + 9) / 4))
    assert metrics.mae == pytest.approx((1 + 0 + 2 + 3) / 4)


def test_errors_of_float32_ratings_are_summed_in_float64() -> None:
    observed = np.full(3, 2.0**24, dtype=np.float32)
    predicted = np.array([2.0**24, 2.0**24 + 2, 2.0**24 - 1], dtype=np.float32)
    assert rating_metrics(predicted, observed).mae == 1.0
    large = np.array([3e38], dtype=np.float32)
    assert rating_metrics(-large, large).rmse == pytest.approx(6e38)


@pytest.mark.parametrize(
    ("predicted", "observed", "words"),
    [
        ([1.0, math.nan, 2.0], [1.0, 2.0, 3.0], "1 of 3 predictions are not finite"),
        ([1.0, 2.0], [1.0, math.inf], "1 of 2 ratings are not finite"),
        ([1.0, 2.0], [1.0], "are no pairs"),
        ([], [], "no pair to evaluate"),
    ],
)
def test_pairs_without_an_error_are_refused_rather_than_left_out(
    predicted: list[float], observed: list[float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        rating_metrics(np.array(predicted), np.array(observed))


def test_errors_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    predicted, observed = random.normal(3, 1, 500), random.integers(1, 6, 500).astype(np.float64)
    metrics = rating_metrics(predicted, observed)
    assert metrics.rmse == pytest.approx(root_mean_squared_error(observed, predicted))
    assert metrics.mae == pytest.approx(mean_absolute_error(observed, predicted))


def test_ratings_are_shown_by_the_link_and_stay_finite() -> None:
    x = np.array([-800.0, 0.0, 800.0], dtype=np.float32)
    assert shown_ratings(x, link="identity").tolist() == x.tolist()
    assert shown_ratings(x, link="sigmoid") == pytest.approx([0, 0.5, 1])
    assert shown_ratings(x, link="exp") == pytest.approx([0, 1, float(np.finfo(np.float32).max)])
