"""Top-N against brute force, and its independence of how users are grouped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists, starts_of
from factorbox.recommend.top_n import Ranked, Ranking, joined, scores_of_pairs, top_n, top_n_of
from factorbox.threads import Threads


def lists_of(rows: list[list[int]]) -> Lists:
    return Lists(
        starts_of(np.array([len(row) for row in rows], dtype=np.int64)),
        np.array([item for row in rows for item in row], dtype=np.int32),
    )


@dataclass(frozen=True)
class Case:
    user_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    counts: NDArray[np.int64]
    excluded: list[list[int]]

    def candidates(self, available: NDArray[np.bool_] | None = None) -> Candidates:
        return Candidates(self.item_factors, self.item_biases, available=available)

    def wanted(self, part: slice) -> Ranked:
        return Ranked(self.user_factors[part], self.user_biases[part], self.counts[part])

    def ask(self, part: slice, candidates: Candidates | None = None) -> Ranking:
        return top_n(candidates or self.candidates(), self.wanted(part), excluded=lists_of(self.excluded[part]))

    def exact_scores(self) -> NDArray[np.float32]:
        """Every score by the pair kernel, whose order of additions is the definition."""
        n_users, n_items = len(self.user_factors), len(self.item_factors)
        flat = scores_of_pairs(
            self.candidates(),
            user_factors=self.user_factors,
            user_biases=self.user_biases,
            rows=np.repeat(np.arange(n_users), n_items),
            item_indices=np.tile(np.arange(n_items, dtype=np.int32), n_users),
        )
        return flat.reshape(n_users, n_items)

    def expected(self, allowed: list[list[int]] | None = None) -> list[list[int]]:
        """Sort all items by (−score, index), leave out the excluded and those not allowed, cut."""
        scores = self.exact_scores()
        answers = []
        for user, excluded in enumerate(self.excluded):
            order = np.lexsort((np.arange(scores.shape[1]), -scores[user]))
            left = set(range(scores.shape[1]) if allowed is None else allowed[user]) - set(excluded)
            answers.append([int(i) for i in order if i in left][: self.counts[user]])
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
    items = case.candidates()
    whole = case.ask(slice(None), items)
    parts = joined(case.ask(slice(start, start + size), items) for start in range(0, 1500, size))
    assert whole.indptr.tobytes() == parts.indptr.tobytes()
    assert whole.item_indices.tobytes() == parts.item_indices.tobytes()
    assert whole.scores.tobytes() == parts.scores.tobytes()


def test_threads_do_not_change_a_byte(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=1000, n_items=300, d=16, count=10)
    candidates, wanted, nothing = case.candidates(), case.wanted(slice(None)), Lists.empty(1000)
    alone = top_n(candidates, wanted, excluded=nothing)
    with Threads(3) as threads:
        together = top_n(candidates, wanted, excluded=nothing, run=threads.map)
    assert alone.scores.tobytes() == together.scores.tobytes()
    assert alone.item_indices.tobytes() == together.item_indices.tobytes()


@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 90), levels=st.sampled_from([0, 1]))
@settings(max_examples=80)
def test_what_is_not_available_is_never_returned(seed: int, n_items: int, levels: int) -> None:
    # Trap: masked items that leak into short rankings.
    rng = np.random.default_rng(seed)
    case = random_case(rng, n_users=5, n_items=n_items, d=6, count=int(rng.integers(1, 120)), levels=levels)
    available = rng.random(n_items) < 0.5
    found = case.ask(slice(None), case.candidates(available))
    allowed = [np.flatnonzero(available).tolist()] * 5
    assert rows(found) == case.expected(allowed)
    everything = lists_of([list(range(n_items))] * 5)
    listed = top_n_of(
        case.candidates(available), case.wanted(slice(None)), included=everything, excluded=lists_of(case.excluded)
    )
    assert rows(listed) == case.expected(allowed)


@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 90), levels=st.sampled_from([0, 1]))
@settings(max_examples=80)
def test_a_list_of_candidates_gives_the_same_scores_and_order_as_the_whole(
    seed: int, n_items: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng, n_users=5, n_items=n_items, d=6, count=int(rng.integers(1, 120)), levels=levels)
    included = [[int(i) for i in rng.integers(0, n_items, rng.integers(0, 2 * n_items))] for _ in range(5)]
    found = top_n_of(
        case.candidates(), case.wanted(slice(None)), included=lists_of(included), excluded=lists_of(case.excluded)
    )
    assert rows(found) == case.expected(included)
    owners = np.repeat(np.arange(5), np.diff(found.indptr))
    assert (found.scores == case.exact_scores()[owners, found.item_indices]).all()


@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 90), scale=st.sampled_from([1e-20, 1.0, 1e6]))
@settings(max_examples=80)
def test_scaled_products_are_cosines_whichever_way_they_are_ranked(seed: int, n_items: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng, n_users=n_items, n_items=n_items, d=6, count=n_items, scale=scale)
    h = case.item_factors.astype(np.float64)
    norms = np.sqrt((h * h).sum(axis=1))
    candidates = Candidates(case.item_factors, np.zeros(n_items, np.float32), scales=1 / norms)
    wanted = Ranked(case.item_factors, np.zeros(n_items, np.float32), case.counts, scales=1 / norms)
    found = top_n(candidates, wanted, excluded=Lists.empty(n_items))
    owners = np.repeat(np.arange(n_items), n_items)
    expected = (h @ h.T / norms / norms[:, None])[owners, found.item_indices]
    np.testing.assert_allclose(found.scores, expected, atol=3e-7)
    for scores in np.split(found.scores, n_items):
        assert (np.diff(scores) <= 0).all()
    everything = lists_of([list(range(n_items))] * n_items)
    listed = top_n_of(candidates, wanted, included=everything, excluded=Lists.empty(n_items))
    assert found.scores.tobytes() == listed.scores.tobytes()
    assert found.item_indices.tobytes() == listed.item_indices.tobytes()


def test_an_unknown_item_among_pairs_scores_nan(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=2, n_items=4, d=3, count=1)
    scores = scores_of_pairs(
        case.candidates(),
        user_factors=case.user_factors,
        user_biases=case.user_biases,
        rows=np.array([1, 0, 1]),
        item_indices=np.array([2, -1, 3], dtype=np.int32),
    )
    assert np.isnan(scores).tolist() == [False, True, False]
    assert (scores[[0, 2]] == case.exact_scores()[1, [2, 3]]).all()


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
    case = Case(
        user_factors=np.ones((3, 2), dtype=np.float32),
        user_biases=np.zeros(3, dtype=np.float32),
        item_factors=np.ones((500, 2), dtype=np.float32),
        item_biases=np.zeros(500, dtype=np.float32),
        counts=np.array([1, 5, 200]),
        excluded=[[0], [], []],
    )
    assert rows(case.ask(slice(None))) == [[1], [0, 1, 2, 3, 4], list(range(200))]


def test_a_negative_zero_ties_with_zero() -> None:
    case = Case(
        user_factors=np.array([[-1.0]], dtype=np.float32),
        user_biases=np.array([-0.0], dtype=np.float32),
        item_factors=np.array([[0.0], [-0.0], [0.0]], dtype=np.float32),
        item_biases=np.zeros(3, dtype=np.float32),
        counts=np.array([3]),
        excluded=[[]],
    )
    assert rows(case.ask(slice(None))) == [[0, 1, 2]]


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


@pytest.mark.parametrize("available", [None, np.arange(50) % 7 > 0], ids=["all", "some"])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_scores_that_overflow_never_give_an_item_twice_or_one_that_is_not_there(
    available: NDArray[np.bool_] | None, rng: np.random.Generator
) -> None:
    # Trap: there the selection finds fewer than are left, and whoever reads on reads foreign memory.
    case = random_case(rng, n_users=8, n_items=50, d=6, count=40, scale=10.0)
    case.user_factors[0] = 1e38
    case.user_factors[1] = -1e38
    case.user_factors[2] = np.nan
    case.user_factors[3] = [3e38, -3e38, 0, 0, 0, 0]
    case.user_biases[4] = -np.inf
    case.user_biases[5] = np.nan
    case.item_factors[::3, 2] = 3e38
    case.item_factors[1::3, 4] = -3e38
    found = rows(case.ask(slice(None), case.candidates(available)))
    for items, excluded in zip(found, case.excluded, strict=True):
        never = {*excluded, *(() if available is None else np.flatnonzero(~available).tolist())}
        assert len(items) == len(set(items)) <= 40
        assert set(items) <= set(range(50)) - never
    assert found[2] == []
    # Who is not struck by it gets an answer all the same.
    assert found[6]


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_scores_that_overflow_are_the_same_alone_and_among_others(rng: np.random.Generator) -> None:
    # Sums of float32 that overflow on their way do so in one order of additions and not in another.
    case = random_case(rng, n_users=40, n_items=300, d=6, count=20, scale=10.0)
    case.user_factors[::3] *= np.float32(1e37)
    case.item_factors[::5] *= np.float32(1e36)
    whole, items = case.ask(slice(None)), case.candidates()
    alone = joined(case.ask(slice(user, user + 1), items) for user in range(40))
    assert whole.item_indices.tobytes() == alone.item_indices.tobytes()
    assert whole.scores.tobytes() == alone.scores.tobytes()
