"""Ranking by dot products: what is skipped, given up or padded changes no answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists, starts_of
from factorbox.recommend.product_kernels import LANES
from factorbox.recommend.top_n import Ranked, Ranking, scores_of_pairs, top_n


@dataclass(frozen=True)
class Case:
    """Users, items and what the users must not get."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    biases: NDArray[np.float32]
    available: NDArray[np.bool_]
    counts: NDArray[np.int64]
    excluded: list[NDArray[np.int32]]

    def candidates(self) -> Candidates:
        return Candidates(self.items, self.biases, available=self.available)

    def ask(self) -> Ranking:
        lengths = np.array([len(items) for items in self.excluded], dtype=np.int64)
        excluded = Lists(starts_of(lengths), np.concatenate([np.zeros(0, np.int32), *self.excluded]))
        none = np.zeros(len(self.users), dtype=np.float32)
        return top_n(self.candidates(), Ranked(self.users, none, self.counts), excluded=excluded)

    def expected(self) -> tuple[list[list[int]], list[list[float]]]:
        """Sort every score of the pair kernel."""
        n_users, n_items = len(self.users), len(self.items)
        scores = scores_of_pairs(
            self.candidates(),
            user_factors=self.users,
            user_biases=np.zeros(n_users, dtype=np.float32),
            rows=np.repeat(np.arange(n_users), n_items),
            item_indices=np.tile(np.arange(n_items, dtype=np.int32), n_users),
        ).reshape(n_users, n_items)
        items, values = [], []
        for user in range(n_users):
            allowed = self.available.copy()
            allowed[self.excluded[user]] = False
            order = np.lexsort((np.arange(n_items), -scores[user]))
            best = order[allowed[order]][: self.counts[user]]
            items.append(best.tolist())
            values.append(scores[user, best].tolist())
        return items, values


def case_of(
    seed: int, *, n_users: int, n_items: int, d: int, spread: float, biased: bool, most: int, some: bool = True
) -> Case:
    """Draw items whose lengths differ by `spread`, the standard deviation of their logarithms."""
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(0, spread, (n_items, 1))
    return Case(
        users=rng.standard_normal((n_users, d)).astype(np.float32),
        items=(rng.standard_normal((n_items, d)) * lengths).astype(np.float32),
        biases=(rng.standard_normal(n_items) * biased).astype(np.float32),
        available=rng.random(n_items) < (0.8 if some else 1.1),
        counts=rng.integers(0, most + 1, n_users),
        excluded=[rng.integers(0, n_items, rng.integers(0, 60)).astype(np.int32) for _ in range(n_users)],
    )


def parts(ranking: Ranking) -> tuple[list[list[int]], list[list[float]]]:
    cuts = ranking.indptr[1:-1]
    return (
        [row.tolist() for row in np.split(ranking.item_indices, cuts)],
        [row.tolist() for row in np.split(ranking.scores, cuts)],
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    n_users=st.one_of(st.integers(1, 5), st.integers(LANES - 1, 3 * LANES + 3)),
    n_items=st.one_of(st.integers(1, 20), st.integers(200, 900)),
    d=st.integers(1, 20),
    spread=st.sampled_from([0.0, 0.5, 2.0]),
    biased=st.booleans(),
    most=st.sampled_from([1, 10, 150, 2000]),
    some=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_items_that_are_too_short_to_matter_are_skipped_without_a_trace(
    seed: int, n_users: int, n_items: int, d: int, spread: float, biased: bool, most: int, some: bool
) -> None:
    case = case_of(seed, n_users=n_users, n_items=n_items, d=d, spread=spread, biased=biased, most=most, some=some)
    assert parts(case.ask()) == case.expected()


@pytest.mark.parametrize("d", [64, 130])
def test_dimensions_of_real_models_are_ranked_exactly(d: int) -> None:
    case = case_of(7, n_users=40, n_items=1500, d=d, spread=0.7, biased=True, most=20)
    assert parts(case.ask()) == case.expected()


def test_users_whose_scores_all_tie_are_ranked_by_item_index() -> None:
    # More candidates than a user has room for: all are within the error bound of the n-th best.
    case = case_of(3, n_users=20, n_items=1000, d=8, spread=0.5, biased=False, most=10, some=False)
    case.users[::2] = 0
    found, scores = parts(case.ask())
    assert (found, scores) == case.expected()
    assert not any(np.any(row) for row in scores[::2])


def test_tiny_factors_are_told_apart_though_their_products_underflow() -> None:
    case = case_of(5, n_users=20, n_items=600, d=8, spread=0.5, biased=False, most=10, some=False)
    tiny = Case(**{**vars(case), "users": case.users * np.float32(1e-22), "items": case.items * np.float32(1e-22)})
    assert parts(tiny.ask()) == tiny.expected()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("n_users", "n_items"), [(1, 1), (3, 5), (LANES + 2, 777)])
def test_block_scores_are_products_and_no_block_changes_them(
    n_users: int, n_items: int, scaled: bool, rng: np.random.Generator
) -> None:
    users = rng.standard_normal((n_users, 17)).astype(np.float32)
    items = rng.standard_normal((n_items, 17)).astype(np.float32)
    biases = rng.standard_normal(n_items).astype(np.float32)
    scales = 1 / np.linalg.norm(items.astype(np.float64), axis=1) if scaled else None
    candidates = Candidates(items, biases, scales=scales)
    scores = candidates.block_scores(users).copy()
    expected = users.astype(np.float64) @ items.astype(np.float64).T * (1 if scales is None else scales) + biases
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    alone = [candidates.block_scores(users[row : row + 1]).copy() for row in range(n_users)]
    assert np.concatenate(alone).tobytes() == scores.tobytes()
