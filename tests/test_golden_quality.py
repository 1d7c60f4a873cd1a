"""Floors of quality on real data, with no hyperparameters at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import movielens, ratings
from demo_data import read_ratings
from factorbox.data.interactions import Interactions
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import Relevant, ranking_metrics
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Factors
from factorbox.recommend.fold_in import fold_in

needs_benchmark_split = pytest.mark.skipif(
    not os.environ.get("FACTORBOX_DATA"), reason="FACTORBOX_DATA names no folder with the benchmark split"
)

FLOORS = {
    "als": 0.4687,
    "softmax": 0.4687,
    "bpr": 0.42,
    "hinge": 0.36,
    "adaptive_hinge": 0.36,
    "pointwise": 0.36,
    "nmf": 0.46,
    "mlp": 0.3,
}
"""nDCG@10 on the ML-100K split of the Microsoft Recommenders benchmark. als and softmax: the best row of its table."""


def popularity_ndcg(fitted: Interactions, relevant: Relevant) -> float:
    users = np.flatnonzero(relevant.counts)
    rows = most_popular(fitted, user_indices=users, k=movielens.K)
    return ranking_metrics(rows, user_indices=users, relevant=relevant, k=movielens.K).ndcg


def folded_in_ndcg(
    algorithm: Algorithm, config: Any, factors: Factors, fitted: Interactions, relevant: Relevant
) -> float:
    """Measure the users as they are folded in from their own histories."""
    system = algorithm.row_system(config, factors.item_side)
    user_factors, user_biases = fold_in(system, fitted.by_user())
    folded = replace(factors, user_factors=user_factors, user_biases=user_biases)
    return movielens.quality(folded, fitted=fitted, relevant=relevant).ndcg


def test_every_algorithm_has_a_floor() -> None:
    rankers = {name for name, chosen in ALGORITHMS.items() if not chosen.feedback(chosen.config()).needs_weights}
    assert rankers == FLOORS.keys()
    # What it does is measured in ratings, below.
    assert ALGORITHMS.keys() - rankers == {"explicit"}


@needs_benchmark_split
@pytest.mark.parametrize("name", FLOORS)
def test_defaults_reach_the_published_table_and_fold_in_keeps_their_quality(name: str) -> None:
    fitted = movielens.interactions_of(movielens.ml100k_train())
    relevant = movielens.relevant_of(movielens.ml100k_test(), fitted=fitted)
    assert popularity_ndcg(fitted, relevant) == pytest.approx(0.252, abs=0.001)
    algorithm = ALGORITHMS[name]
    config = algorithm.resolved(algorithm.config(), interactions=fitted)
    factors = algorithm.fit(fitted, config=config, random_state=42, threads=2)
    trained = movielens.quality(factors, fitted=fitted, relevant=relevant).ndcg
    assert trained > FLOORS[name]
    assert folded_in_ndcg(algorithm, config, factors, fitted, relevant) > 0.95 * trained


@needs_benchmark_split
def test_ratings_are_predicted_better_than_by_means_and_biases_and_than_published() -> None:
    fit, held_out = ratings.ml100k().split(ratings.TEST_SHARE, seed=0)
    fitted = fit.interactions()
    test = ratings.HeldOut.of(held_out, fitted=fitted)
    explicit = ALGORITHMS["explicit"]
    config = explicit.resolved(explicit.config(), interactions=fitted)
    factors = explicit.fit(fitted, config=config, random_state=0, threads=2)
    trained = test.metrics(factors).rmse
    baseline = test.metrics(ratings.means_and_biases(fitted)).rmse
    assert trained < min(0.935, 0.97 * baseline)
    # The stored users are those of fold-in: nothing is lost.
    user_factors, user_biases = fold_in(explicit.row_system(config, factors.item_side), fitted.by_user())
    folded = replace(factors, user_factors=user_factors, user_biases=user_biases)
    assert test.metrics(folded).rmse == pytest.approx(trained, abs=1e-4)


@pytest.fixture(scope="session")
def demo_pairs() -> movielens.Pairs:
    """The pairs of the demo's data, where the demo has been run: a test downloads nothing."""
    path = Path(__file__).resolve().parent.parent / "local_test/demo_output/ml-100k/ml-100k.inter"
    if not path.exists():
        pytest.skip("local_test/demo.sh has not been run here")
    table = read_ratings(path)
    return movielens.Pairs(table["user_id"].to_numpy(str), table["item_id"].to_numpy(str))


def test_the_default_beats_popularity_on_the_data_of_the_demo(demo_pairs: movielens.Pairs) -> None:
    fit, held_out = demo_pairs.split(0.2, seed=0)
    fitted = movielens.interactions_of(fit)
    relevant = movielens.relevant_of(held_out, fitted=fitted)
    default = next(iter(ALGORITHMS.values()))
    factors = default.fit(fitted, config=default.config(), random_state=42, threads=2)
    assert movielens.quality(factors, fitted=fitted, relevant=relevant).ndcg > 1.5 * popularity_ndcg(fitted, relevant)
