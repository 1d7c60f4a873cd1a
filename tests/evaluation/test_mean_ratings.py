"""Means and biases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.data.rows import Rows
from factorbox.evaluation.mean_ratings import MeanRatings


def test_biases_are_shrunk_means_of_what_is_left_computed_by_hand() -> None:
    # User 0 rates items 0 and 1 with 5 and 3, user 1 item 0 with 4; user 2 and item 2 have no rating.
    trained = Rows(np.array([0, 2, 3, 3]), np.array([0, 1, 0], dtype=np.int32), np.array([5, 3, 4], dtype=np.float32))
    means = MeanRatings.of(trained, n_items=3)
    item_0, item_1 = (1 + 0) / (2 + 25), -1 / (1 + 25)
    user_0, user_1 = (1 - item_0 - 1 - item_1) / (2 + 10), (0 - item_0) / (1 + 10)
    assert means.mean == 4
    assert means.item_biases == pytest.approx([item_0, item_1, 0])
    assert means.user_biases == pytest.approx([user_0, user_1, 0])
    predicted = means.predicted(np.array([0, 1, 2]), np.array([1, 2, 2]))
    assert predicted == pytest.approx([4 + user_0 + item_1, 4 + user_1, 4])


def test_equal_ratings_are_predicted_as_they_are() -> None:
    trained = Rows(np.array([0, 2, 3]), np.array([0, 1, 1], dtype=np.int32), np.full(3, 3.5, dtype=np.float32))
    predicted = MeanRatings.of(trained, n_items=2).predicted(np.array([0, 1]), np.array([1, 0]))
    assert predicted.tolist() == [3.5, 3.5]
