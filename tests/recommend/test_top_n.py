"""Top-N against brute force, and its independence of how users are grouped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.recommend.top_n import ItemMatrix, Ranking, joined, scores_of_pairs, top_n
from factorbox.threads import Threads


@dataclass(frozen=True)
class Case:
    user_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    counts: NDArray[np.int64]
    excluded: list[list[int]]

    def ask(self, part: slice, items: ItemMatrix | None = None) -> Ranking:
        excluded = self.excluded[part]
        return top_n(
            items or ItemMatrix(self.item_factors, self.item_biases),
            user_factors=self.user_factors[part],
            user_biases=self.user_biases[part],
            counts=self.counts[part],
            excluded_indptr=np.concatenate([[0], np.cumsum([len(row) for row in excluded])]).astype(np.int64),
            excluded_items=np.array([item for row in excluded for item in row], dtype=np.int32),
        )

    def exact_scores(self) -> NDArray[np.float32]:
        """Every score by the pair kernel, whose order of additions is the definition."""
        n_users, n_items = len(self.user_factors), len(self.item_factors)
        users = np.repeat(np.arange(n_users), n_items)
        flat = scores_of_pairs(
            ItemMatrix(self.item_factors, self.item_biases),
            user_factors=self.user_factors[users],
            user_biases=self.user_biases[users],
            item_indices=np.tile(np.arange(n_items, dtype=np.int32), n_users),
        )
        return flat.reshape(n_users, n_items)

    def expected(self) -> list[list[int]]:
        """Sort all items by (−score, index), leave out the excluded, cut."""
        scores = self.exact_scores()
        answers = []
        for user, excluded in enumerate(self.excluded):
            order = np.lexsort((np.arange(scores.shape[1]), -scores[user]))
            answers.append([int(i) for i in order if i not in set(excluded)][: self.counts[user]])
        return answers


def random_case(
    rng: np.random.Generator, *, n_users: int, n_items: int, d: int, count: int, scale: float = 1.0, levels: int = 0
) -> Case:
    def draw(*shape: int) -> NDArray[np.float32]:
        values = rng.standard_normal(shape)
        # Few distinct values make many ties.
        return ((np.round(values * levels) / levels if levels else values) * scale).astype(np.float32)

    return Case(
        user_factors=draw(n_users, d),
        user_biases=draw(n_users),
        item_factors=draw(n_items, d),
        item_biases=draw(n_items),
        counts=np.full(n_users, count, dtype=np.int64),
        excluded=[[int(i) for i in rng.integers(0, n_items, rng.integers(0, n_items))] for _ in range(n_users)],
    )


def rows(ranking: Ranking) -> list[list[int]]:
    return [
        [int(i) for i in ranking.item_indices[a:b]]
        for a, b in zip(ranking.indptr[:-1], ranking.indptr[1:], strict=True)
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    n_users=st.integers(1, 12),
    n_items=st.integers(1, 90),
    d=st.integers(1, 20),
    count=st.one_of(st.integers(1, 120), st.just(10**9)),
    scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e6]),
    levels=st.sampled_from([0, 1, 3]),
)
@settings(max_examples=150)
def test_equals_sorting_every_score(
    seed: int, n_users: int, n_items: int, d: int, count: int, scale: float, levels: int
) -> None:
    case = random_case(
        np.random.default_rng(seed), n_users=n_users, n_items=n_items, d=d, count=count, scale=scale, levels=levels
    )
    found = case.ask(slice(None))
    assert rows(found) == case.expected()
    scores = case.exact_scores()
    owners = np.repeat(np.arange(n_users), np.diff(found.indptr))
    assert (found.scores == scores[owners, found.item_indices]).all()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_same_users_alone_in_sevens_and_in_thousands_get_the_same_bytes(
    rng: np.random.Generator, size: int
) -> None:
    case = random_case(rng, n_users=1500, n_items=400, d=33, count=10)
    items = ItemMatrix(case.item_factors, case.item_biases)
    whole = case.ask(slice(None), items)
    parts = joined(case.ask(slice(start, start + size), items) for start in range(0, 1500, size))
    assert whole.indptr.tobytes() == parts.indptr.tobytes()
    assert whole.item_indices.tobytes() == parts.item_indices.tobytes()
    assert whole.scores.tobytes() == parts.scores.tobytes()


def test_threads_do_not_change_a_byte(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=1000, n_items=300, d=16, count=10)
    arguments = dict(
        user_factors=case.user_factors,
        user_biases=case.user_biases,
        counts=case.counts,
        excluded_indptr=np.zeros(1001, dtype=np.int64),
        excluded_items=np.zeros(0, dtype=np.int32),
    )
    items = ItemMatrix(case.item_factors, case.item_biases)
    alone = top_n(items, **arguments)  # type: ignore[arg-type]
    with Threads(3) as threads:
        together = top_n(items, **arguments, run=threads.map)  # type: ignore[arg-type]
    assert alone.scores.tobytes() == together.scores.tobytes()
    assert alone.item_indices.tobytes() == together.item_indices.tobytes()


def test_more_than_there_are_gives_all_that_are_left_without_padding(rng: np.random.Generator) -> None:
    # Trap: a peer pads with item 0 and the score 0, and returns masked items with the lowest float.
    case = random_case(rng, n_users=1, n_items=4, d=2, count=10)
    case = Case(**{**vars(case), "excluded": [[1, 3, 3]]})
    found = case.ask(slice(None))
    assert sorted(rows(found)[0]) == [0, 2]
    assert np.isfinite(found.scores).all()


def test_nothing_left_gives_nothing(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=2, n_items=3, d=2, count=5)
    case = Case(**{**vars(case), "excluded": [[0, 1, 2], []]})
    assert [len(row) for row in rows(case.ask(slice(None)))] == [0, 3]


def test_ties_go_to_the_smaller_item_index() -> None:
    ones = np.ones((3, 2), dtype=np.float32)
    items = ItemMatrix(np.ones((500, 2), dtype=np.float32), np.zeros(500, dtype=np.float32))
    found = top_n(
        items,
        user_factors=ones,
        user_biases=np.zeros(3, dtype=np.float32),
        counts=np.array([1, 5, 200]),
        excluded_indptr=np.array([0, 1, 1, 1]),
        excluded_items=np.array([0], dtype=np.int32),
    )
    assert rows(found) == [[1], [0, 1, 2, 3, 4], list(range(200))]


def test_a_negative_zero_ties_with_zero() -> None:
    factors = np.array([[0.0], [-0.0], [0.0]], dtype=np.float32)
    found = top_n(
        ItemMatrix(factors, np.zeros(3, dtype=np.float32)),
        user_factors=np.array([[-1.0]], dtype=np.float32),
        user_biases=np.array([-0.0], dtype=np.float32),
        counts=np.array([3]),
        excluded_indptr=np.zeros(2, dtype=np.int64),
        excluded_items=np.zeros(0, dtype=np.int32),
    )
    assert rows(found) == [[0, 1, 2]]


def test_scores_that_differ_in_the_last_bit_are_ordered_by_the_exact_ones(rng: np.random.Generator) -> None:
    # Items that are equal but for one bit: a block product cannot tell them apart, the fixed-order score must.
    base = rng.standard_normal((1, 64)).astype(np.float32)
    factors = np.repeat(base, 300, axis=0)
    factors[:, 0] = np.nextafter(factors[:, 0], np.float32(np.inf), dtype=np.float32)
    factors[::3, 1] = np.nextafter(factors[::3, 1], np.float32(np.inf), dtype=np.float32)
    case = Case(
        user_factors=rng.standard_normal((50, 64)).astype(np.float32),
        user_biases=np.zeros(50, dtype=np.float32),
        item_factors=factors,
        item_biases=np.zeros(300, dtype=np.float32),
        counts=np.full(50, 20, dtype=np.int64),
        excluded=[[] for _ in range(50)],
    )
    assert rows(case.ask(slice(None))) == case.expected()
