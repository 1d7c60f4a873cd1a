"""The whole evaluation, by hand on a few users and against plain loops on more, and at the edges of the data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.evaluation.estimates import Estimate, Evaluation, Group
from factorbox.evaluation.held_out import HeldOutRankings, HeldOutRatings, RatedBy
from factorbox.evaluation.measuring import evaluate
from factorbox.evaluation.metrics import METRICS
from factorbox.models.base import Factors
from network_support import random_layers


def rows_of(lists: list[list[int]], *, ratings: list[list[float]] | None = None) -> Rows:
    flat = [item for items in lists for item in items]
    weights = [1.0] * len(flat) if ratings is None else [value for values in ratings for value in values]
    indptr = np.concatenate([[0], np.cumsum([len(items) for items in lists])]).astype(np.int64)
    return Rows(indptr, np.array(flat, dtype=np.int32), np.array(weights, dtype=np.float32))


def pairs_of(lists: list[list[int]], *, ratings: list[list[float]] | None = None) -> Pairs:
    rows = rows_of(lists, ratings=ratings)
    return Pairs(np.repeat(np.arange(len(lists)), rows.counts), rows.indices, rows.weights)


def scoring(scores: list[list[float]]) -> Factors:
    """Return a model with these scores of users and items."""
    matrix = np.array(scores, dtype=np.float32)
    n_users, n_items = matrix.shape
    return Factors(
        user_factors=matrix,
        item_factors=np.eye(n_items, dtype=np.float32),
        user_biases=np.zeros(n_users, dtype=np.float32),
        item_biases=np.zeros(n_items, dtype=np.float32),
        epochs=1,
        train_loss=0.0,
    )


def measured(
    model: Factors,
    trained: Rows,
    held_out: Pairs,
    *,
    users: list[int] | None = None,
    k: int = 10,
    rated: RatedBy | None = None,
    available: NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> Evaluation:
    return evaluate(
        model,
        trained=trained,
        held_out=held_out,
        users=np.arange(len(trained.counts)) if users is None else np.array(users, dtype=np.int64),
        n_items=len(model.item_factors),
        k=k,
        rated=rated,
        available=available,
        random_state=0,
        threads=threads,
    )


def value(estimates: dict[str, Estimate] | object, name: str) -> float:
    assert isinstance(estimates, dict)
    found = estimates[name]
    assert isinstance(found, Estimate)
    return found.value


# Users 0 and 1 are measured; user 2 is only trained on. Items by users in training: 0 has 3, 1 has 1, 2 has 1.
TRAINED = rows_of([[0, 1], [0], [0, 2]], ratings=[[5, 4], [3], [2, 4]])
HELD_OUT = pairs_of([[2, 3], [1], []], ratings=[[4, 2], [5], []])
MODEL = scoring([[9, 9, 5, 1, 3], [9, 2, 4, 1, 3], [0, 0, 0, 0, 0]])


def test_two_users_computed_by_hand() -> None:
    # Rankings of two: user 0: 2 (a hit), 4; user 1: 2, 4.
    found = measured(MODEL, TRAINED, HELD_OUT, k=2)
    assert (found.k, found.users, found.pairs, found.auc_users) == (2, 2, 3, 2)
    ideal = 1 + 1 / math.log2(3)
    expected = {
        "ndcg@2": (1 / ideal + 0) / 2,
        "precision@2": (1 / 2 + 0) / 2,
        "recall@2": (1 / 2 + 0) / 2,
        "map@2": (1 / 2 + 0) / 2,
        "mrr@2": 1 / 2,
        "hit_rate@2": 1 / 2,
        # User 0: 2 is above 4, 3 is not. User 1: 1 is above 3, and below 2 and 4.
        "auc": (1 / 2 + 1 / 3) / 2,
        "coverage@2": 2 / 5,
    }
    assert {name: estimate.value for name, estimate in found.metrics.items()} == pytest.approx(expected)
    # By popularity, user 0 gets 2 and 3 (two hits), user 1 gets 1 (a hit) and 2.
    assert {name: estimate.value for name, estimate in found.baseline.items()} == pytest.approx(
        {
            "ndcg@2": 1,
            "precision@2": (1 + 1 / 2) / 2,
            "recall@2": 1,
            "map@2": 1,
            "mrr@2": 1,
            "hit_rate@2": 1,
            # User 0: 2 is above 4, 3 ties with it. User 1: 1 ties with 2, and is above 3 and 4.
            "auc": ((1 + 1 / 2) / 2 + (1 / 2 + 1 + 1) / 3) / 2,
            "coverage@2": 3 / 5,
        }
    )


def test_ratings_stand_beside_means_and_biases() -> None:
    found = measured(MODEL, TRAINED, HELD_OUT, rated=RatedBy("identity"))
    assert value(found.metrics, "rmse") == pytest.approx(math.sqrt((1 + 1 + 9) / 3))
    assert value(found.metrics, "mae") == pytest.approx((1 + 1 + 3) / 3)
    mean = 18 / 5
    item_0, item_1, item_2 = (10 - 3 * mean) / 28, (4 - mean) / 26, (4 - mean) / 26
    user_0 = (9 - 2 * mean - item_0 - item_1) / 12
    user_1 = (3 - mean - item_0) / 11
    errors = np.array([mean + user_0 + item_2 - 4, mean + user_0 - 2, mean + user_1 + item_1 - 5])
    assert value(found.baseline, "rmse") == pytest.approx(math.sqrt((errors**2).mean()))
    assert value(found.baseline, "mae") == pytest.approx(np.abs(errors).mean())
    assert list(found.metrics) == [metric.name for metric in METRICS]
    assert list(found.baseline) == list(found.metrics)


def test_labels_are_compared_with_probabilities() -> None:
    found = measured(MODEL, TRAINED, HELD_OUT, rated=RatedBy("sigmoid", like_above=3))
    probabilities = 1 / (1 + np.exp(-np.array([5.0, 1.0, 2.0])))
    assert value(found.metrics, "mae") == pytest.approx(np.abs(probabilities - [1, 0, 1]).mean())
    ratings = HeldOutRatings(HELD_OUT, rated=RatedBy("sigmoid", like_above=3))
    assert ratings.observed.tolist() == [1, 0, 1]
    assert 0 <= value(found.baseline, "rmse") <= 1


def random_case(n_users: int = 120, n_items: int = 60) -> tuple[Factors, Rows, Pairs]:
    random = np.random.default_rng(8)
    have = random.random((n_users, n_items)) < random.random(n_items) ** 2
    have[:, 0] = True
    out = have & (random.random(have.shape) < 0.3)
    out[:, 0] = False
    trained, held_out = ([np.flatnonzero(row).tolist() for row in part] for part in (have & ~out, out))
    model = Factors(
        user_factors=random.normal(size=(n_users, 8)).astype(np.float32),
        item_factors=random.normal(size=(n_items, 8)).astype(np.float32),
        user_biases=random.normal(size=n_users).astype(np.float32),
        item_biases=random.normal(size=n_items).astype(np.float32),
        epochs=1,
        train_loss=0.0,
        global_mean=3.0,
    )
    return model, rows_of(trained), pairs_of(held_out)


def all_numbers(found: Evaluation) -> list[float]:
    sides = [found.metrics, found.baseline]
    for group in (*found.by_activity, *found.by_popularity):
        sides += [group.metrics, group.baseline]
    estimates = [estimate for side in sides for estimate in side.values()]
    return [n for e in estimates for n in (e.value, e.low, e.high) if n is not None]


def test_every_metric_but_coverage_has_an_interval_and_all_of_rankings_are_within_0_and_1() -> None:
    model, trained, held_out = random_case()
    found = measured(model, trained, held_out)
    assert all(0 <= number <= 1 for number in all_numbers(found))
    for name, estimate in (*found.metrics.items(), *found.baseline.items()):
        if name == "coverage@10":
            assert estimate.low is estimate.high is None
        else:
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= estimate.value <= estimate.high


def test_groups_of_users_add_up_to_the_whole() -> None:
    model, trained, held_out = random_case()
    found = measured(model, trained, held_out, rated=RatedBy("identity"))
    groups = found.by_activity
    assert len(groups) > 1
    assert sum(group.users for group in groups) == found.users
    assert sum(group.pairs for group in groups) == found.pairs
    for name in ("ndcg@10", "recall@10", "auc", "hit_rate@10"):
        assert _weighted(groups, name, by="users") == pytest.approx(value(found.metrics, name))
    assert _weighted(groups, "mae", by="pairs") == pytest.approx(value(found.metrics, "mae"))
    assert "coverage@10" not in groups[0].metrics


def test_groups_of_pairs_add_up_to_the_hits_and_errors_of_the_whole() -> None:
    model, trained, held_out = random_case()
    found = measured(model, trained, held_out, rated=RatedBy("identity"))
    groups = found.by_popularity
    assert len(groups) > 1
    assert sum(group.pairs for group in groups) == found.pairs
    assert set(groups[0].metrics) == set(groups[0].baseline) == {"recall@10", "auc", "rmse", "mae"}
    hits = value(found.metrics, "precision@10") * 10 * found.users
    assert _weighted(groups, "recall@10", by="pairs") * found.pairs == pytest.approx(hits)
    assert _weighted(groups, "mae", by="pairs") == pytest.approx(value(found.metrics, "mae"))
    # Most popular finds what many have.
    assert value(groups[0].baseline, "recall@10") > value(groups[-1].baseline, "recall@10")


def _weighted(groups: object, name: str, *, by: str) -> float:
    assert isinstance(groups, list | tuple)
    members = [group for group in groups if isinstance(group, Group)]
    sizes = [getattr(group, by) for group in members]
    return float(np.average([group.metrics[name].value for group in members], weights=sizes))


def test_threads_change_no_bit_and_the_seed_only_intervals() -> None:
    model, trained, held_out = random_case()
    once = measured(model, trained, held_out, rated=RatedBy("identity"))
    assert measured(model, trained, held_out, rated=RatedBy("identity"), threads=3) == once
    other = evaluate(
        model,
        trained=trained,
        held_out=held_out,
        users=np.arange(120),
        n_items=60,
        rated=RatedBy("identity"),
        random_state=1,
        threads=1,
    )
    assert {name: e.value for name, e in other.metrics.items()} == {name: e.value for name, e in once.metrics.items()}
    assert other.metrics["ndcg@10"] != once.metrics["ndcg@10"]


def test_the_rankings_of_an_epoch_are_those_of_the_evaluation() -> None:
    model, trained, held_out = random_case()
    rankings = HeldOutRankings(trained, held_out, users=np.arange(120), k=10, threads=2)
    found = measured(model, trained, held_out)
    assert rankings.metrics(model).ndcg == value(found.metrics, "ndcg@10")
    assert rankings.metrics(model).users == found.users
    seen = trained.holds(np.repeat(rankings.users, 10), rankings.top_items(model).ravel().astype(np.int32))
    assert not seen.any()


def test_pairs_of_other_users_do_not_matter() -> None:
    model, trained, held_out = random_case()
    of_few = held_out.user_indices < 30
    few = Pairs(held_out.user_indices[of_few], held_out.item_indices[of_few], held_out.weights[of_few])
    users = list(range(30))
    assert measured(model, trained, held_out, users=users) == measured(model, trained, few, users=users)


def test_held_out_items_that_may_not_be_recommended_do_not_count() -> None:
    available = np.array([True, True, False, True, True])
    found = measured(MODEL, TRAINED, HELD_OUT, k=2, available=available)
    # User 0: 4, 3 (a hit at the second place; 2 cannot be one). User 1: 4, 1 (a hit).
    assert found.pairs == 2
    assert value(found.metrics, "recall@2") == 1
    assert value(found.metrics, "mrr@2") == pytest.approx(1 / 2)
    assert value(found.metrics, "coverage@2") == pytest.approx(3 / 4)
    # User 0: 3 is below 4; user 1: 1 is above 3 and below 4.
    assert value(found.metrics, "auc") == pytest.approx((0 + 1 / 2) / 2)


def test_a_held_out_pair_that_is_in_training_too_is_left_out() -> None:
    again = pairs_of([[1, 2, 3], [0, 1], []])
    plain = pairs_of([[2, 3], [1], []])
    assert measured(MODEL, TRAINED, again, k=2) == measured(MODEL, TRAINED, plain, k=2)


@pytest.mark.parametrize("held_out", [pairs_of([[], [], []]), pairs_of([[0], [], []])])
def test_nobody_to_measure_is_an_error(held_out: Pairs) -> None:
    with pytest.raises(UserError, match="none of the 3 users to measure has a held-out interaction"):
        measured(MODEL, TRAINED, held_out)


def test_users_without_held_out_pairs_are_left_out() -> None:
    assert measured(MODEL, TRAINED, HELD_OUT, users=[1, 2]).users == 1


def test_one_item_has_metrics_and_no_auc() -> None:
    found = measured(scoring([[2.0], [1.0]]), rows_of([[0], []]), pairs_of([[], [0]]))
    assert value(found.metrics, "ndcg@10") == 1
    assert value(found.metrics, "precision@10") == pytest.approx(1 / 10)
    assert "auc" not in found.metrics
    assert found.auc_users == 0
    assert all(math.isfinite(number) for number in all_numbers(found))


def test_a_user_who_has_had_everything_else_counts_for_all_but_the_auc() -> None:
    trained = rows_of([[0, 1, 2, 4], [0], [0]])
    found = measured(MODEL, trained, pairs_of([[3], [1], []]), k=2)
    assert (found.users, found.auc_users) == (2, 1)
    assert value(found.metrics, "recall@2") == pytest.approx(1 / 2)
    assert all(math.isfinite(number) for number in all_numbers(found))


def test_nothing_that_may_be_recommended_is_nothing_to_measure() -> None:
    with pytest.raises(UserError, match="whose item may be recommended"):
        measured(MODEL, TRAINED, HELD_OUT, available=np.zeros(5, dtype=np.bool_))


def test_a_network_has_the_auc_of_a_sample_of_users() -> None:
    random = np.random.default_rng(0)
    n_users, n_items = 700, 30
    model = replace(
        scoring([[0.0] * 6] * n_users),
        user_factors=random.normal(size=(n_users, 6)).astype(np.float32),
        item_factors=random.normal(size=(n_items, 6)).astype(np.float32),
        item_biases=np.zeros(n_items, dtype=np.float32),
        layers=random_layers(random, (6, 4)),
    )
    trained, held_out = (
        rows_of([[user % 30] for user in range(700)]),
        pairs_of([[(user + 7) % 30] for user in range(700)]),
    )
    found = measured(model, trained, held_out)
    assert (found.users, found.auc_users) == (700, 500)
    assert measured(model, trained, held_out, threads=2) == found
