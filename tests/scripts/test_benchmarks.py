"""The parts of the benchmarks that their tables rest on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import job_cost, ml1m, movielens
from factorbox.models import ALGORITHMS


def two_tastes(seed: int) -> ml1m.Cut:
    """Cut the pairs of users who like items of their own half only."""
    rng = np.random.default_rng(seed)
    pairs = [(f"u{user}", f"i{10 * (user % 2) + item}") for user in range(40) for item in rng.permutation(10)[:7]]
    users, items = (np.array(column) for column in zip(*pairs, strict=True))
    return ml1m.Cut.of(movielens.Pairs(users, items), seed=seed)


def test_a_cut_holds_a_fifth_of_the_rows_out_and_another_seed_others() -> None:
    first, again, other = two_tastes(0), two_tastes(0), two_tastes(1)
    assert first.fitted.n_pairs == 224 and first.relevant.counts.sum() == 56
    assert np.array_equal(first.fitted.item_indices, again.fitted.item_indices)
    assert not np.array_equal(first.fitted.item_indices, other.fitted.item_indices)


def test_ease_and_a_trained_model_find_the_tastes_that_popularity_does_not_know() -> None:
    cut = two_tastes(0)
    of_popularity = ml1m.popular(cut).recall
    assert ml1m.ease(cut).recall > of_popularity + 0.2
    assert ml1m.trained("als", threads=1)(cut).recall > of_popularity + 0.2


def test_slow_algorithms_are_trained_only_where_they_are_named() -> None:
    assert "mlp" in ALGORITHMS and "mlp" not in ml1m.chosen([])
    assert {"als", "ease"} <= set(ml1m.chosen([])) and "explicit" not in ml1m.chosen([])
    assert ml1m.chosen(["mlp"]) == ["mlp"]


def test_the_seconds_of_a_log_are_added_up_by_what_they_are_of() -> None:
    log = """\
epoch=1; train_loss=0.5; seconds=0.25;
epoch=2; train_loss=0.4; seconds=0.5;
refit_epoch=3; train_loss=0.4; seconds=1e-02;
rows=7; seconds=nothing;
reading_seconds=2; evaluation_seconds=0.125;
"""
    assert job_cost.seconds_in(log) == {
        "epoch: seconds": 0.75,
        "refit_epoch: seconds": pytest.approx(0.01),
        "reading_seconds": 2.0,
        "evaluation_seconds": 0.125,
    }
