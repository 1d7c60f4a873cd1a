"""The AUC by hand, against scikit-learn, by a network, and on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from factorbox.evaluation.auc import shares_above, user_aucs
from factorbox.evaluation.popularity import Popularity
from factorbox.evaluation.ranking import Relevant
from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists
from factorbox.recommend.network_ranking import NetworkCandidates
from factorbox.threads import Threads
from network_support import random_layers


def lists_of(rows: list[list[int]]) -> Lists:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Lists(indptr, np.array([item for row in rows for item in row], dtype=np.int32))


def relevant_of(rows: list[list[int]]) -> Relevant:
    lists = lists_of(rows)
    return Relevant(lists.indptr, lists.indices)


def scored(scores: list[float]) -> Candidates:
    """Items with these scores for a user whose factor is 1."""
    return Candidates(np.array(scores, dtype=np.float32)[:, None], np.zeros(len(scores), dtype=np.float32))


def test_one_user_computed_by_hand() -> None:
    # Item 0 is seen. Of the others, 3 and 5 are held out; 1, 2 and 4 have the scores 0.2, 0.5 and 0.9.
    shares = shares_above(
        scored([9, 0.2, 0.5, 0.5, 0.9, 1.0]),
        user_factors=np.ones((1, 1), dtype=np.float32),
        seen=lists_of([[0]]),
        relevant=relevant_of([[3, 5]]),
        run=map,
    )
    # 3 is above 1, ties with 2 and is below 4; 5 is above all three.
    assert shares == pytest.approx([(1 + 0.5 + 0) / 3, 1])
    assert user_aucs(shares, relevant=relevant_of([[3, 5]])) == pytest.approx([0.75])


def test_only_items_that_may_be_recommended_count() -> None:
    shares = shares_above(
        scored([9, 0.2, 0.5, 0.5, 0.9, 1.0]),
        user_factors=np.ones((1, 1), dtype=np.float32),
        seen=lists_of([[0]]),
        relevant=relevant_of([[3, 5]]),
        available=np.array([True, True, True, True, False, False]),
        run=map,
    )
    assert shares[0] == pytest.approx(1.5 / 2)
    assert np.isnan(shares[1])
    assert user_aucs(shares, relevant=relevant_of([[3, 5]])) == pytest.approx([0.75])


def test_a_user_without_another_unseen_item_has_no_auc() -> None:
    relevant = relevant_of([[1, 2], [1]])
    shares = shares_above(
        scored([1, 2, 3]),
        user_factors=np.ones((2, 1), dtype=np.float32),
        seen=lists_of([[0], [0]]),
        relevant=relevant,
        run=map,
    )
    assert np.isnan(shares).tolist() == [True, True, False]
    assert user_aucs(shares, relevant=relevant) == pytest.approx([np.nan, 0], nan_ok=True)


def random_case(
    seed: int, *, n_users: int, n_items: int, most_held_out: int
) -> tuple[NDArray[np.float32], Candidates, Lists, Relevant, NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    # Small whole numbers: exact, and many of them tie.
    user_factors = random.integers(-3, 4, (n_users, 3)).astype(np.float32)
    items = Candidates(
        random.integers(-3, 4, (n_items, 3)).astype(np.float32), random.integers(-2, 3, n_items).astype(np.float32)
    )
    seen, held_out = [], []
    for _ in range(n_users):
        order = random.permutation(n_items)
        n_seen, n_held_out = int(random.integers(0, n_items // 4)), int(random.integers(1, most_held_out))
        seen.append(sorted(order[:n_seen].tolist()))
        held_out.append(sorted(order[n_seen : n_seen + n_held_out].tolist()))
    return user_factors, items, lists_of(seen), relevant_of(held_out), random.random(n_items) < 0.9


def by_scikit_learn(
    scores: NDArray[np.floating], seen: Lists, relevant: Relevant, available: NDArray[np.bool_]
) -> list[float]:
    aucs = []
    for user in range(len(scores)):
        unseen = available.copy()
        unseen[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = False
        held_out = np.zeros(len(unseen), dtype=np.bool_)
        held_out[relevant.item_indices[relevant.indptr[user] : relevant.indptr[user + 1]]] = True
        labels = held_out[unseen]
        aucs.append(np.nan if labels.all() or not labels.any() else roc_auc_score(labels, scores[user][unseen]))
    return aucs


# 256 items are counted side by side.
@pytest.mark.parametrize(("n_items", "most_held_out"), [(30, 10), (256, 20), (600, 200)])
def test_the_auc_of_each_user_agrees_with_scikit_learn(n_items: int, most_held_out: int) -> None:
    users, items, seen, relevant, available = random_case(
        n_items, n_users=60, n_items=n_items, most_held_out=most_held_out
    )
    shares = shares_above(items, user_factors=users, seen=seen, relevant=relevant, available=available, run=map)
    scores = users @ items.factors.T + items.biases
    expected = by_scikit_learn(scores, seen, relevant, available)
    assert user_aucs(shares, relevant=relevant) == pytest.approx(expected, nan_ok=True)


def test_the_auc_of_popularity_agrees_with_scikit_learn() -> None:
    users, _, seen, relevant, available = random_case(5, n_users=60, n_items=50, most_held_out=12)
    popularity = Popularity(np.random.default_rng(0).integers(0, 6, 50), available)
    shares = popularity.shares_above(seen=seen, relevant=relevant)
    expected = by_scikit_learn(np.tile(popularity.users, (len(users), 1)), seen, relevant, available)
    assert user_aucs(shares, relevant=relevant) == pytest.approx(expected, nan_ok=True)


@given(st.integers(0, 2**32 - 1))
def test_every_share_is_within_0_and_1(seed: int) -> None:
    users, items, seen, relevant, available = random_case(seed, n_users=3, n_items=12, most_held_out=6)
    shares = shares_above(items, user_factors=users, seen=seen, relevant=relevant, available=available, run=map)
    known = shares[np.isfinite(shares)]
    assert (known >= 0).all()
    assert (known <= 1).all()


def test_a_network_scores_the_whole_catalogue() -> None:
    random = np.random.default_rng(4)
    _, _, seen, relevant, available = random_case(9, n_users=30, n_items=40, most_held_out=9)
    users, items = (random.normal(size=(rows, 6)).astype(np.float32) for rows in (30, 40))
    network = NetworkCandidates(items, layers=random_layers(random, (6, 4)))
    pairs = np.indices((30, 40)).reshape(2, -1)
    scores = network.pair_scores(
        users, np.zeros(30, dtype=np.float32), rows=pairs[0], item_indices=pairs[1].astype(np.int32)
    )
    shares = shares_above(network, user_factors=users, seen=seen, relevant=relevant, available=available, run=map)
    expected = by_scikit_learn(scores.reshape(30, 40), seen, relevant, available)
    assert user_aucs(shares, relevant=relevant) == pytest.approx(expected, nan_ok=True)


def test_threads_change_no_bit() -> None:
    random = np.random.default_rng(2)
    _, _, seen, relevant, _ = random_case(7, n_users=700, n_items=90, most_held_out=20)
    users = random.normal(size=(700, 24)).astype(np.float32)
    items = Candidates(random.normal(size=(90, 24)).astype(np.float32), random.normal(size=90).astype(np.float32))
    found = []
    for count in (1, 2, 5):
        with Threads(count) as threads:
            found.append(
                shares_above(items, user_factors=users, seen=seen, relevant=relevant, run=threads.map).tobytes()
            )
    assert len(set(found)) == 1
