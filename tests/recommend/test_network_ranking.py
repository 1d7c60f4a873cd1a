"""Top-N by a network against brute force, and its independence of how users and items are grouped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.models.network import network_scores
from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists, starts_of
from factorbox.recommend.network_ranking import NetworkCandidates, candidates_of
from factorbox.recommend.top_n import Ranked, Ranking, joined, scores_of_pairs, top_n, top_n_of
from factorbox.threads import Threads
from network_support import float32_score, random_layers


def lists_of(rows: list[list[int]]) -> Lists:
    return Lists(
        starts_of(np.array([len(row) for row in rows], dtype=np.int64)),
        np.array([item for row in rows for item in row], dtype=np.int32),
    )


def rows(ranking: Ranking) -> list[list[int]]:
    bounds = zip(ranking.indptr[:-1], ranking.indptr[1:], strict=True)
    return [ranking.item_indices[start:end].tolist() for start, end in bounds]


@dataclass(frozen=True)
class Case:
    users: NDArray[np.float32]
    biases: NDArray[np.float32]
    items: NDArray[np.float32]
    layers: dict[str, NDArray[np.float32]]
    count: int
    excluded: list[list[int]]

    def candidates(self, available: NDArray[np.bool_] | None = None) -> NetworkCandidates:
        return NetworkCandidates(self.items, layers=self.layers, available=available)

    def wanted(self, part: slice = slice(None)) -> Ranked:
        users = self.users[part]
        return Ranked(users, self.biases[part], np.full(len(users), self.count, dtype=np.int64))

    def ask(self, part: slice, candidates: NetworkCandidates, **arguments: Any) -> Ranking:
        return top_n(candidates, self.wanted(part), excluded=lists_of(self.excluded[part]), **arguments)

    def scores(self) -> NDArray[np.float32]:
        """Every score, each pair by itself."""
        shape = (len(self.users), len(self.items))
        u, i = (indices.ravel() for indices in np.indices(shape))
        # In an order without two pairs of one user in a row.
        order = np.argsort(i, kind="stable")
        flat = np.empty(len(u), dtype=np.float32)
        flat[order] = scores_of_pairs(
            self.candidates(),
            user_factors=self.users,
            user_biases=self.biases,
            rows=u[order],
            item_indices=i[order].astype(np.int32),
        )
        return flat.reshape(shape)

    def expected(self, allowed: list[list[int]] | None = None) -> list[list[int]]:
        scores = self.scores()
        answers = []
        for user, excluded in enumerate(self.excluded):
            order = np.lexsort((np.arange(scores.shape[1]), -scores[user]))
            left = set(range(scores.shape[1]) if allowed is None else allowed[user]) - set(excluded)
            answers.append([int(i) for i in order if i in left][: self.count])
        return answers


def random_case(
    rng: np.random.Generator, *, n_users: int, n_items: int, sizes: list[int], count: int, levels: int = 0
) -> Case:
    def draw(*shape: int) -> NDArray[np.float32]:
        values = rng.standard_normal(shape)
        # Few distinct values make many ties.
        return (np.round(values * levels) / levels if levels else values).astype(np.float32)

    return Case(
        users=draw(n_users, sizes[0]),
        biases=draw(n_users),
        items=draw(n_items, sizes[0]),
        layers=random_layers(rng, sizes),
        count=count,
        excluded=[[int(i) for i in rng.integers(0, n_items, rng.integers(0, n_items))] for _ in range(n_users)],
    )


@pytest.mark.parametrize("sizes", [[1], [4], [7], [6, 5], [3, 6, 2]], ids=str)
def test_the_score_of_a_pair_is_the_written_order_of_additions(rng: np.random.Generator, sizes: list[int]) -> None:
    case = random_case(rng, n_users=4, n_items=9, sizes=sizes, count=5)
    expected = [
        [float32_score(p, q, case.layers, bias) for q in case.items]
        for p, bias in zip(case.users, case.biases, strict=True)
    ]
    assert case.scores().tobytes() == np.array(expected, dtype=np.float32).tobytes()


@pytest.mark.parametrize("sizes", [[70], [70, 35]], ids=str)
def test_scores_are_close_to_exact_arithmetic(rng: np.random.Generator, sizes: list[int]) -> None:
    case = random_case(rng, n_users=4, n_items=300, sizes=sizes, count=5)
    exact = network_scores(case.users, case.items, case.layers) + case.biases[:, None]
    np.testing.assert_allclose(case.scores(), exact, rtol=1e-5, atol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_users=st.integers(1, 6),
    n_items=st.integers(1, 90),
    sizes=st.sampled_from([[1], [5], [8], [4, 3]]),
    count=st.one_of(st.integers(1, 120), st.just(10**9)),
    levels=st.sampled_from([0, 1]),
)
@settings(max_examples=60)
def test_equals_sorting_every_score(
    seed: int, n_users: int, n_items: int, sizes: list[int], count: int, levels: int
) -> None:
    case = random_case(
        np.random.default_rng(seed), n_users=n_users, n_items=n_items, sizes=sizes, count=count, levels=levels
    )
    found = case.ask(slice(None), case.candidates())
    assert rows(found) == case.expected()
    owners = np.repeat(np.arange(n_users), np.diff(found.indptr))
    assert found.scores.tobytes() == case.scores()[owners, found.item_indices].tobytes()


@pytest.mark.parametrize("sizes", [[10], [6, 5]], ids=str)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_same_users_alone_in_sevens_and_in_thousands_get_the_same_bytes(
    rng: np.random.Generator, size: int, sizes: list[int]
) -> None:
    case = random_case(rng, n_users=1100, n_items=600, sizes=sizes, count=10)
    items = case.candidates()
    whole = case.ask(slice(None), items)
    parts = joined(case.ask(slice(start, start + size), items) for start in range(0, 1100, size))
    assert whole.indptr.tobytes() == parts.indptr.tobytes()
    assert whole.item_indices.tobytes() == parts.item_indices.tobytes()
    assert whole.scores.tobytes() == parts.scores.tobytes()


def test_threads_do_not_change_a_byte(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=1000, n_items=300, sizes=[9], count=10)
    items = case.candidates()
    alone = case.ask(slice(None), items)
    with Threads(3) as threads:
        together = case.ask(slice(None), items, run=threads.map)
    assert alone.scores.tobytes() == together.scores.tobytes()
    assert alone.item_indices.tobytes() == together.item_indices.tobytes()


@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 400), levels=st.sampled_from([0, 1]))
@settings(max_examples=40)
def test_what_is_not_available_is_never_returned_and_lists_change_no_score(
    seed: int, n_items: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 120))
    case = random_case(rng, n_users=3, n_items=n_items, sizes=[6], count=count, levels=levels)
    available = rng.random(n_items) < 0.5
    candidates = case.candidates(available)
    found = case.ask(slice(None), candidates)
    assert rows(found) == case.expected([np.flatnonzero(available).tolist()] * 3)
    # Repeated, unavailable and excluded items among those listed, in any order.
    included = [[int(i) for i in rng.integers(0, n_items, 2 * n_items)] for _ in range(3)]
    listed = top_n_of(candidates, case.wanted(), included=lists_of(included), excluded=lists_of(case.excluded))
    assert rows(listed) == case.expected([[i for i in row if available[i]] for row in included])
    owners = np.repeat(np.arange(3), np.diff(listed.indptr))
    assert listed.scores.tobytes() == case.scores()[owners, listed.item_indices].tobytes()


def test_nothing_available_is_an_empty_answer(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=2, n_items=5, sizes=[4], count=3)
    assert rows(case.ask(slice(None), case.candidates(np.zeros(5, dtype=np.bool_)))) == [[], []]


def test_negative_zero_ties_with_zero(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=1, n_items=3, sizes=[1], count=3)
    zero = np.zeros(1, dtype=np.float32)
    layers = {**case.layers, "hidden_bias": zero, "output_weights": -np.ones(1, dtype=np.float32), "output_bias": -zero}
    candidates = NetworkCandidates(np.zeros((3, 1), dtype=np.float32), layers=layers)
    wanted = Ranked(np.zeros((1, 1), dtype=np.float32), -zero, np.array([3]))
    found = top_n(candidates, wanted, excluded=Lists.empty(1))
    assert rows(found) == [[0, 1, 2]] and not np.signbit(found.scores).any()


def test_an_unknown_item_of_a_pair_has_no_score(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=2, n_items=5, sizes=[4], count=3)
    scores = scores_of_pairs(
        case.candidates(),
        user_factors=case.users,
        user_biases=case.biases,
        rows=np.array([1, 1, 0]),
        item_indices=np.array([3, -1, 3], dtype=np.int32),
    )
    assert np.isnan(scores).tolist() == [False, True, False]
    assert scores[0] == case.scores()[1, 3] and scores[2] == case.scores()[0, 3]


def test_scores_that_overflow_never_give_an_item_twice_or_one_that_is_not_there(rng: np.random.Generator) -> None:
    # Trap: there the selection finds fewer than are left, and whoever reads on reads foreign memory.
    case = random_case(rng, n_users=6, n_items=50, sizes=[5, 3], count=40)
    case.users[0] = 3e38
    case.users[1] = np.nan
    case.biases[2] = -np.inf
    case.biases[3] = np.nan
    case.items[::3] = 3e38
    found = rows(case.ask(slice(None), case.candidates()))
    for items, excluded in zip(found, case.excluded, strict=True):
        assert len(items) == len(set(items)) <= 40
        assert set(items) <= set(range(50)) - {*excluded}
    assert found[3] == []
    # Who is not struck by it gets an answer all the same.
    assert found[4]


def test_a_model_without_layers_is_ranked_by_dot_products(rng: np.random.Generator) -> None:
    case = random_case(rng, n_users=1, n_items=5, sizes=[4], count=3)
    biases = np.zeros(5, dtype=np.float32)
    assert isinstance(candidates_of(case.items, item_biases=biases, layers={}), Candidates)
    assert isinstance(candidates_of(case.items, item_biases=biases, layers=case.layers), NetworkCandidates)
