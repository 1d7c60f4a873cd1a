"""The metrics against hand-computed cases, a brute force written from the definitions, and trec_eval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.errors import UserError
from factorbox.evaluation.ranking import (
    NO_ITEM,
    Relevant,
    coverage,
    ranking_metrics,
    top_items_matrix,
    user_metrics,
)


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
    assert metrics.mrr == 1
    assert metrics.hit_rate == 1


@pytest.mark.parametrize("k", [100, 10**9, 10**23])
def test_a_k_beyond_every_ranking_costs_no_memory_and_stays_the_denominator(k: int) -> None:
    # Five items are relevant, and the ranking ends after two of them.
    metrics = ranking_metrics(
        np.array([[7, 1, NO_ITEM]]), user_indices=np.array([0]), relevant=relevant_sets([{7, 1, 30, 40, 50}]), k=k
    )
    assert metrics.precision == pytest.approx(2 / k, rel=1e-12, abs=0)
    assert (metrics.k, metrics.recall, metrics.mrr) == (k, 2 / 5, 1)
    discounts = [1 / math.log2(position + 1) for position in range(1, 6)]
    assert metrics.ndcg == pytest.approx(sum(discounts[:2]) / sum(discounts))
    assert metrics.map == metrics.map_min == pytest.approx((1 / 1 + 2 / 2) / 5)


def test_the_reciprocal_rank_is_that_of_the_first_hit() -> None:
    relevant = relevant_sets([{2, 3}, {9}])
    rows = np.array([[0, 1, 2, 3], [0, 1, 2, 3]])
    metrics = ranking_metrics(rows, user_indices=np.array([0, 1]), relevant=relevant, k=4)
    assert metrics.mrr == pytest.approx((1 / 3 + 0) / 2)
    assert metrics.hit_rate == pytest.approx(1 / 2)
    # Position 3 is beyond k = 2.
    assert ranking_metrics(rows, user_indices=np.array([0, 1]), relevant=relevant, k=2).mrr == 0


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
        got = (
            metrics.precision,
            metrics.recall,
            metrics.ndcg,
            metrics.map,
            metrics.map_min,
            metrics.mrr,
            metrics.hit_rate,
        )
        assert got == pytest.approx(expected)


def brute_force(rankings: list[list[int]], sets: list[set[int]], k: int) -> tuple[float, ...]:
    rows: list[tuple[float, ...]] = []
    for ranking, wanted in zip(rankings, sets, strict=True):
        if not wanted:
            continue
        hits, gain, precisions, first = 0, 0.0, 0.0, 0.0
        for position, item in enumerate(ranking[:k], start=1):
            if item in wanted:
                hits += 1
                gain += 1 / math.log2(position + 1)
                precisions += hits / position
                first = first or 1 / position
        best = min(k, len(wanted))
        ideal = sum(1 / math.log2(position + 1) for position in range(1, best + 1))
        rows.append((hits / k, hits / len(wanted), gain / ideal, precisions / len(wanted), precisions / best))
        rows[-1] += (first, float(hits > 0))
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def test_a_repeated_pair_is_relevant_once() -> None:
    relevant = Relevant.from_pairs(np.array([1, 1, 0]), np.array([4, 4, 2]), n_users=3)
    assert relevant.counts.tolist() == [1, 1, 0]
    assert relevant.item_indices.tolist() == [2, 4]


@st.composite
def judged_rankings(draw: st.DrawFn) -> tuple[NDArray[np.int64], Relevant, int]:
    """Rankings of a few users and what is relevant for each, at least one item."""
    n_items, k = draw(st.integers(2, 12)), draw(st.integers(1, 8))
    rankings, sets = [], []
    for _ in range(draw(st.integers(1, 4))):
        order = draw(st.permutations(range(n_items)))[:k]
        rankings.append(order + [NO_ITEM] * (k - len(order)))
        sets.append(draw(st.sets(st.integers(0, n_items - 1), min_size=1)))
    return np.array(rankings, dtype=np.int64), relevant_sets(sets), k


@given(judged_rankings())
def test_every_metric_of_every_user_is_within_0_and_1(judged: tuple[NDArray[np.int64], Relevant, int]) -> None:
    rankings, relevant, k = judged
    metrics = user_metrics(rankings, user_indices=np.arange(len(rankings)), relevant=relevant, k=k)
    for values in (*metrics.by_name().values(), metrics.map_min):
        assert values.shape == (len(rankings),)
        assert (values >= 0).all()
        assert (values <= 1).all()


@given(judged_rankings())
def test_a_perfect_ranking_reaches_the_best_value_there_is(judged: tuple[NDArray[np.int64], Relevant, int]) -> None:
    _, relevant, k = judged
    rows = top_items_matrix(relevant.indptr, relevant.item_indices, k=k)
    metrics = user_metrics(rows, user_indices=np.arange(len(rows)), relevant=relevant, k=k)
    found = np.minimum(relevant.counts, k)
    for values in (metrics.ndcg, metrics.map_min, metrics.mrr, metrics.hit_rate):
        assert (values == 1).all()
    assert metrics.precision == pytest.approx(found / k)
    assert metrics.recall == pytest.approx(found / relevant.counts)


@given(judged_rankings(), st.data())
def test_a_relevant_item_that_moves_up_lowers_no_metric(
    judged: tuple[NDArray[np.int64], Relevant, int], data: st.DataObject
) -> None:
    rankings, relevant, k = judged
    users = np.arange(len(rankings))
    better = rankings.copy()
    row = data.draw(st.integers(0, len(rankings) - 1))
    wanted = relevant.item_indices[relevant.indptr[row] : relevant.indptr[row + 1]]
    places = [p for p in range(1, k) if rankings[row, p] in wanted and rankings[row, p - 1] not in wanted]
    assume(places)
    place = data.draw(st.sampled_from(places))
    better[row, [place - 1, place]] = rankings[row, [place, place - 1]]
    before = user_metrics(rankings, user_indices=users, relevant=relevant, k=k)
    after = user_metrics(better, user_indices=users, relevant=relevant, k=k)
    for name, values in after.by_name().items():
        assert (values >= before.by_name()[name]).all()
    assert after.ndcg[row] > before.ndcg[row]
    assert after.map[row] > before.map[row]


@pytest.mark.parametrize("k", [5, 10])
def test_metrics_of_each_user_agree_with_trec_eval(k: int) -> None:
    random = np.random.default_rng(k)
    n_users, n_items = 60, 40
    sets = [set(random.choice(n_items, int(random.integers(1, 25)), replace=False).tolist()) for _ in range(n_users)]
    # Some rankings are shorter than k.
    rankings = [random.permutation(n_items)[: int(random.integers(1, 2 * k))].tolist()[:k] for _ in range(n_users)]
    indptr = np.concatenate([[0], np.cumsum([len(ranking) for ranking in rankings])])
    rows = top_items_matrix(indptr, np.concatenate(rankings), k=k)
    metrics = user_metrics(rows, user_indices=np.arange(n_users), relevant=relevant_sets(sets), k=k)

    names = {
        "ndcg": f"ndcg_cut_{k}",
        "map": f"map_cut_{k}",
        "precision": f"P_{k}",
        "recall": f"recall_{k}",
        # It has no cut, but the rankings have.
        "mrr": "recip_rank",
        "hit_rate": f"success_{k}",
    }
    measures = {f"ndcg_cut.{k}", f"map_cut.{k}", f"P.{k}", f"recall.{k}", "recip_rank", f"success.{k}"}
    judged = {str(user): {str(item): 1 for item in wanted} for user, wanted in enumerate(sets)}
    runs = {
        str(user): {str(item): float(-place) for place, item in enumerate(ranking)}
        for user, ranking in enumerate(rankings)
    }
    oracle = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(runs)
    for name, theirs in names.items():
        expected = [oracle[str(user)][theirs] for user in range(n_users)]
        assert getattr(metrics, name) == pytest.approx(expected), name


def test_coverage_counts_distinct_items_in_all_rankings() -> None:
    rows = np.array([[0, 1, 2], [2, 1, NO_ITEM]])
    assert coverage(rows, n_recommendable=12) == pytest.approx(3 / 12)
    assert coverage(np.full((2, 3), NO_ITEM), n_recommendable=5) == 0
    assert coverage(np.full((2, 3), NO_ITEM), n_recommendable=0) == 0
