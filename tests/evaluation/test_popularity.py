"""The ranking by popularity by hand, and against a ranking of each user by itself."""

from __future__ import annotations

import numpy as np

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import NO_ITEM


def four_items() -> Interactions:
    """Item 2 has three users, item 0 two, items 1 and 3 one each."""
    return Interactions(
        user_ids=Ids.from_texts(["a", "b", "c"]),
        item_ids=Ids.from_texts(["p", "q", "r", "s"]),
        indptr=np.array([0, 2, 4, 7]),
        item_indices=np.array([0, 2, 0, 2, 1, 2, 3], dtype=np.int32),
        weights=np.ones(7, dtype=np.float32),
    )


def test_most_popular_ranks_by_users_without_the_seen_items() -> None:
    ranking = most_popular(four_items(), user_indices=[0, 2, 1], k=3)
    assert ranking.tolist() == [[1, 3, NO_ITEM], [0, NO_ITEM, NO_ITEM], [1, 3, NO_ITEM]]


def test_items_that_may_not_be_recommended_are_never_ranked() -> None:
    available = np.array([True, False, True, True])
    ranking = most_popular(four_items(), user_indices=[0, 2], k=2, available=available)
    assert ranking.tolist() == [[3, NO_ITEM], [0, NO_ITEM]]


def test_it_agrees_with_a_ranking_of_each_user_by_itself() -> None:
    random = np.random.default_rng(1)
    matrix = random.random((40, 25)) < random.random(25) ** 2
    users, items = np.nonzero(matrix)
    interactions = Interactions.from_pairs(
        Ids.from_texts([f"u{user:02}" for user in range(40)]),
        Ids.from_texts([f"i{item:02}" for item in range(25)]),
        user_indices=users,
        item_indices=items,
    )
    available = random.random(25) < 0.8
    k = 20
    rows = most_popular(interactions, user_indices=np.arange(40), k=k, available=available)
    by_popularity = sorted(range(25), key=lambda item: (-matrix[:, item].sum(), item))
    for user in range(40):
        expected = [item for item in by_popularity if available[item] and not matrix[user, item]][:k]
        assert rows[user].tolist() == expected + [NO_ITEM] * (k - len(expected))
