"""The metrics against hand-computed cases and a brute force written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import NO_ITEM, Relevant, ranking_metrics, top_items_matrix
from factorbox.evaluation.rating import rating_metrics


def relevant_sets(sets: list[set[int]]) -> Relevant:
    pairs = [(user, item) for user, items in enumerate(sets) for item in items]
    users, items = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return Relevant.from_pairs(users, items, n_users=len(sets))


def test_one_user_computed_by_hand() -> None:
    # Hits at positions 1 and 3 of 4; three items are relevant.
    metrics = ranking_metrics(
        np.array([[7, 1, 9, 2]]), user_indices=np.array([0]), relevant=relevant_sets([{7, 9, 30}]), k=4
    )
    assert metrics.users == 1
    assert metrics.precision == pytest.approx(2 / 4)
    assert metrics.recall == pytest.approx(2 / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics.ndcg == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert metrics.map == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert metrics.map_min == pytest.approx((1 / 1 + 2 / 3) / 3)


def test_the_two_average_precisions_differ_where_more_than_k_items_are_relevant() -> None:
    metrics = ranking_metrics(
        np.array([[0, 1]]), user_indices=np.array([0]), relevant=relevant_sets([{0, 1, 2, 3, 4}]), k=2
    )
    assert metrics.map == pytest.approx(2 / 5)
    assert metrics.map_min == pytest.approx(1)
    assert metrics.ndcg == pytest.approx(1)
    assert metrics.precision == pytest.approx(1)


def test_a_short_ranking_counts_its_missing_positions_as_misses() -> None:
    metrics = ranking_metrics(
        np.array([[3, NO_ITEM, NO_ITEM]]), user_indices=np.array([0]), relevant=relevant_sets([{3, 4}]), k=3
    )
    assert metrics.precision == pytest.approx(1 / 3)
    assert metrics.recall == pytest.approx(1 / 2)


def test_a_matrix_narrower_than_k_counts_the_same_as_a_padded_one() -> None:
    relevant = relevant_sets([{3, 4}])
    narrow = ranking_metrics(np.array([[3]]), user_indices=np.array([0]), relevant=relevant, k=3)
    padded = ranking_metrics(np.array([[3, NO_ITEM, NO_ITEM]]), user_indices=np.array([0]), relevant=relevant, k=3)
    assert narrow == padded


def test_the_padding_of_one_user_is_no_hit_for_the_user_before() -> None:
    # The key of (user 1, NO_ITEM) must not be taken for the last item of user 0.
    metrics = ranking_metrics(
        np.array([[NO_ITEM, NO_ITEM]]), user_indices=np.array([1]), relevant=relevant_sets([{5}, {2}]), k=2
    )
    assert metrics.precision == 0


def test_users_without_held_out_items_are_left_out_of_the_means() -> None:
    metrics = ranking_metrics(
        np.array([[0], [0]]), user_indices=np.array([0, 1]), relevant=relevant_sets([{0}, set()]), k=1
    )
    assert metrics.users == 1
    assert metrics.precision == 1


def test_nobody_to_evaluate_is_an_error_and_not_a_nan() -> None:
    with pytest.raises(UserError, match="no user to evaluate has a held-out item"):
        ranking_metrics(np.array([[0]]), user_indices=np.array([1]), relevant=relevant_sets([{0}, set()]), k=1)


def test_metrics_agree_with_a_brute_force_over_random_rankings() -> None:
    random = np.random.default_rng(3)
    for _ in range(40):
        n_users, n_items = int(random.integers(1, 12)), int(random.integers(3, 25))
        k = int(random.integers(1, 15))
        sets = [
            set(random.choice(n_items, int(random.integers(0, n_items)), replace=False).tolist())
            for _ in range(n_users)
        ]
        sets[0].add(0)
        rankings = [
            random.permutation(n_items)[: int(random.integers(0, n_items + 1))].tolist() for _ in range(n_users)
        ]
        order = random.permutation(n_users)
        indptr = np.concatenate([[0], np.cumsum([len(rankings[user]) for user in order])])
        flat = np.concatenate([np.array(rankings[user], dtype=np.int32) for user in order])
        metrics = ranking_metrics(
            top_items_matrix(indptr, flat, k=k), user_indices=order, relevant=relevant_sets(sets), k=k
        )
        expected = brute_force(rankings, sets, k)
        got = (metrics.precision, metrics.recall, metrics.ndcg, metrics.map, metrics.map_min)
        assert got == pytest.approx(expected)


def brute_force(rankings: list[list[int]], sets: list[set[int]], k: int) -> tuple[float, ...]:
    rows = []
    for ranking, wanted in zip(rankings, sets, strict=True):
        if not wanted:
            continue
        hits, gain, precisions = 0, 0.0, 0.0
        for position, item in enumerate(ranking[:k], start=1):
            if item in wanted:
                hits += 1
                gain += 1 / math.log2(position + 1)
                precisions += hits / position
        best = min(k, len(wanted))
        ideal = sum(1 / math.log2(position + 1) for position in range(1, best + 1))
        rows.append((hits / k, hits / len(wanted), gain / ideal, precisions / len(wanted), precisions / best))
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def test_a_repeated_pair_is_relevant_once() -> None:
    relevant = Relevant.from_pairs(np.array([1, 1, 0]), np.array([4, 4, 2]), n_users=3)
    assert relevant.counts.tolist() == [1, 1, 0]
    assert relevant.item_indices.tolist() == [2, 4]


def test_most_popular_ranks_by_users_without_the_seen_items() -> None:
    # Item 2 has three users, item 0 two, items 1 and 3 one each.
    interactions = Interactions(
        user_ids=Ids.from_texts(["a", "b", "c"]),
        item_ids=Ids.from_texts(["p", "q", "r", "s"]),
        indptr=np.array([0, 2, 4, 7]),
        item_indices=np.array([0, 2, 0, 2, 1, 2, 3], dtype=np.int32),
        weights=np.ones(7, dtype=np.float32),
    )
    ranking = most_popular(interactions, user_indices=[0, 2, 1], k=3)
    assert ranking.tolist() == [[1, 3, NO_ITEM], [0, NO_ITEM, NO_ITEM], [1, 3, NO_ITEM]]


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
