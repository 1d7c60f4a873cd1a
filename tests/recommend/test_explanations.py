"""Explanations against an inverse formed explicitly, against the published influence matrix, and at their edges."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.base import ItemSide
from factorbox.models.confidence import TRANSFORMS
from factorbox.models.row_system import RowSystem
from factorbox.recommend.answers import UNKNOWN_ITEM, Explanations
from factorbox.recommend.explanations import explain as explain_subjects
from factorbox.recommend.fold_in import fold_in
from factorbox.recommend.lists import starts_of, taken
from factorbox.recommend.subjects import Subjects
from factorbox.recommend.top_n import Ranking
from row_system_support import (
    dense_system,
    elsewhere_in_memory,
    features,
    histories_of,
    in_groups,
    random_histories,
    random_system,
    rated_system,
)
from support import clustered_interactions

ALL = 10**18


def ranking_of(*items: list[int]) -> Ranking:
    """Return a ranking of these items; explanations do not look at the scores."""
    flat = np.array([item for row in items for item in row], dtype=np.int32)
    indptr = starts_of(np.array([len(row) for row in items], dtype=np.int64))
    return Ranking(indptr, flat, np.zeros(len(flat), np.float32))


def explain(system: RowSystem, *, histories: Rows, ranking: Ranking, counts: NDArray[np.int64]) -> Explanations:
    """Explain for users of whom only the history matters."""
    users, d = len(histories.counts), system.item_factors.shape[1]
    subjects = Subjects(np.zeros((users, d), np.float32), np.zeros(users, np.float32), histories)
    return explain_subjects(system, subjects=subjects, ranking=ranking, counts=counts)


def counts_of(*counts: int) -> NDArray[np.int64]:
    return np.array(counts, dtype=np.int64)


def reasons(found: Explanations, row: int) -> list[tuple[int, float]]:
    part = slice(found.indptr[row], found.indptr[row + 1])
    return list(zip(found.item_indices[part].tolist(), found.impacts[part].tolist(), strict=True))


def als_system_of_one(item_factors: NDArray[np.float32], *, regularization: float) -> RowSystem:
    """Return the system of als with c = 1 and α0 = 0."""
    config = ALSConfig(
        embedding_dim=item_factors.shape[1],
        alpha=1,
        unobserved_weight=0,
        regularization=regularization,
        regularization_exponent=0.5,
    )
    biases = np.zeros(len(item_factors), np.float32)
    return ALS().row_system(config, ItemSide(item_factors, biases))


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 40),
    lengths=st.lists(st.integers(0, 70), min_size=1, max_size=5),
    has_bias=st.booleans(),
    alpha=st.none() | st.floats(0.01, 50),
    data=st.data(),
)
def test_reasons_are_what_the_inverse_gives(
    seed: int, d: int, lengths: list[int], has_bias: bool, alpha: float | None, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    system = random_system(rng, n_items=80, d=d, has_bias=has_bias, alpha=alpha)
    histories = random_histories(rng, lengths, n_items=80)
    each = st.integers(0, 4) | st.integers(0, 80) | st.just(ALL)
    counts = data.draw(st.lists(each, min_size=len(lengths), max_size=len(lengths)))
    ranking = ranking_of(*(rng.integers(UNKNOWN_ITEM, 80, rng.integers(0, 8)).tolist() for _ in lengths))
    found = explain(system, histories=histories, ranking=ranking, counts=counts_of(*counts))

    assert np.array_equal(found.impacts, found.influences)
    assert len(found.item_indices) == len(found.impacts) == found.indptr[-1]
    x = features(system)
    for request, k in enumerate(counts):
        history = histories.indices[histories.indptr[request] : histories.indptr[request + 1]].tolist()
        A, columns = dense_system(system, histories, request)
        inverse = np.linalg.inv(A)
        for row in range(ranking.indptr[request], ranking.indptr[request + 1]):
            i = int(ranking.item_indices[row])
            if i == UNKNOWN_ITEM or k == 0:
                assert np.isnan(found.baselines[row]) and np.isnan(found.own_impacts[row]) and not reasons(found, row)
                continue
            impacts = dict(zip(history, x[i] @ inverse @ columns, strict=True))
            baseline = system.offsets[i] + x[i] @ inverse @ system.constant
            tolerance = 1e-5 * max(1.0, abs(baseline), *map(abs, impacts.values()))
            assert found.baselines[row] == pytest.approx(baseline, abs=tolerance)
            own = impacts.pop(i, np.nan)
            assert found.own_impacts[row] == pytest.approx(own, abs=tolerance, nan_ok=True)
            best = sorted(impacts.values(), reverse=True)[:k]
            given_items = [item for item, _ in reasons(found, row)]
            given_impacts = [impact for _, impact in reasons(found, row)]
            np.testing.assert_allclose(given_impacts, best, rtol=0, atol=tolerance)
            np.testing.assert_allclose([impacts[item] for item in given_items], best, rtol=0, atol=tolerance)
            assert len(set(given_items)) == len(given_items)


@given(
    seed=st.integers(0, 2**32 - 1),
    unobserved_weight=st.floats(0.01, 1),
    regularization=st.floats(1e-2, 1),
    exponent=st.floats(0, 1.5),
    confidence=st.sampled_from(TRANSFORMS),
)
@settings(max_examples=30)
def test_impacts_of_als_add_up_to_the_score_of_the_folded_in_user(
    seed: int, unobserved_weight: float, regularization: float, exponent: float, confidence: str
) -> None:
    interactions = clustered_interactions(np.random.default_rng(seed), n_users=20, n_items=40, weighted=True)
    config = ALSConfig(
        embedding_dim=6,
        epochs=2,
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        regularization_exponent=exponent,
        alpha=2.0,
        confidence=confidence,
    )
    trained = ALS().fit(interactions, config=config, random_state=seed % 1000)
    system = ALS().row_system(config, trained.item_side)
    histories = interactions.by_user()
    ranking = ranking_of(*(list(range(40)) for _ in range(20)))
    found = explain(system, histories=histories, ranking=ranking, counts=np.full(20, ALL))
    folded, _ = fold_in(system, histories)
    scores = (folded.astype(np.float64) @ trained.item_factors.T).ravel()
    assert not found.baselines.any()
    for row, score in enumerate(scores):
        impacts = [impact for _, impact in reasons(found, row)]
        own = np.nan_to_num(found.own_impacts[row])
        size = np.abs(impacts).sum() + abs(own)
        assert abs(sum(impacts) + own - score) <= 1e-4 * max(abs(score), 0.01 * size)


@pytest.mark.parametrize("length", [12, 30])
def test_without_weights_and_penalties_influences_are_the_published_matrix(
    rng: np.random.Generator, length: int
) -> None:
    # Rastegarpanah, Crovella, Gummadi 2017: J = Uᵀ (U W Uᵀ)⁻¹ U W, with the item factors as the columns of U and the
    # history on the diagonal of W. It is the limit of c = 1, α0 = 0, λ → 0.
    n_items, d = 50, 8
    h = rng.standard_normal((n_items, d)).astype(np.float32)
    history = np.sort(rng.choice(n_items, length, replace=False)).tolist()
    U = h.T.astype(np.float64)
    W = np.diag(np.isin(np.arange(n_items), history).astype(np.float64))
    J = U.T @ np.linalg.inv(U @ W @ U.T) @ U @ W
    for regularization, tolerance in ((1e-3, 1e-2), (1e-6, 1e-5), (0.0, 1e-5)):
        found = explain(
            als_system_of_one(h, regularization=regularization),
            histories=histories_of(history),
            ranking=ranking_of(list(range(n_items))),
            counts=counts_of(ALL),
        )
        for i in range(n_items):
            influences = np.zeros(n_items)
            for item, influence in reasons(found, i):
                influences[item] = influence
            if i in history:
                influences[i] = found.own_impacts[i]
            np.testing.assert_allclose(influences, J[i], rtol=0, atol=tolerance)


def test_a_history_shorter_than_the_dimension_where_the_published_matrix_does_not_exist(
    rng: np.random.Generator,
) -> None:
    h = rng.standard_normal((30, 8)).astype(np.float32)
    history = [2, 11, 19]
    U = h.T.astype(np.float64)
    W = np.diag(np.isin(np.arange(30), history).astype(np.float64))
    assert np.linalg.matrix_rank(U @ W @ U.T) == 3
    for regularization in (0.38, 1e-6, 0.0):
        system = als_system_of_one(h, regularization=regularization)
        found = explain(system, histories=histories_of(history), ranking=ranking_of([5, 6]), counts=counts_of(ALL))
        folded, _ = fold_in(system, histories_of(history))
        for row, score in enumerate(folded[0] @ h[[5, 6]].T):
            assert sum(impact for _, impact in reasons(found, row)) == pytest.approx(score, rel=1e-4, abs=1e-5)


def test_an_item_of_the_history_has_an_own_impact_and_is_not_its_own_reason(rng: np.random.Generator) -> None:
    # Trap: an item that explains itself: its own share is nearly always the largest.
    system = random_system(rng, n_items=30, d=5, has_bias=True)
    histories = random_histories(rng, [12], n_items=30)
    history = histories.indices.tolist()
    other = next(i for i in range(30) if i not in history)
    for k in (1, 11, 12, ALL):
        ranking = ranking_of([*history, other])
        found = explain(system, histories=histories, ranking=ranking, counts=counts_of(k))
        for row, i in enumerate(history):
            assert i not in [item for item, _ in reasons(found, row)]
            assert len(reasons(found, row)) == min(k, 11)
        assert np.isfinite(found.own_impacts[:-1]).all() and np.isnan(found.own_impacts[-1])
        assert len(reasons(found, 12)) == min(k, 12)


def test_a_history_of_the_explained_item_alone_leaves_no_reason_but_itself(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=9, d=4, has_bias=True)
    found = explain(system, histories=histories_of([3]), ranking=ranking_of([3]), counts=counts_of(5))
    factors, biases = fold_in(system, histories_of([3]))
    score = factors[0] @ system.item_factors[3] + biases[0] + system.offsets[3]
    assert not reasons(found, 0)
    assert found.baselines[0] + found.own_impacts[0] == pytest.approx(score, rel=1e-4)


def test_a_history_without_items_leaves_the_baseline_alone(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=9, d=4, has_bias=True)
    found = explain(system, histories=histories_of([], [1, 2]), ranking=ranking_of([3, 0], [4]), counts=counts_of(2, 2))
    A, _ = dense_system(system, histories_of([]), 0)
    expected = system.offsets + features(system) @ np.linalg.solve(A, system.constant)
    assert not reasons(found, 0) and not reasons(found, 1) and len(reasons(found, 2)) == 2
    np.testing.assert_allclose(found.baselines[:2], expected[[3, 0]], rtol=1e-5)
    assert np.isnan(found.own_impacts).all()


def test_fewer_reasons_are_the_first_of_all_and_negative_ones_come_last(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=60, d=6, has_bias=False)
    histories = random_histories(rng, [40], n_items=60)
    ranking = ranking_of(list(range(60)))
    whole = explain(system, histories=histories, ranking=ranking, counts=counts_of(ALL))
    signs = np.sign(whole.impacts)
    assert (signs < 0).any() and (signs > 0).any()
    for k in (1, 2, 5, 39, 40):
        found = explain(system, histories=histories, ranking=ranking, counts=counts_of(k))
        for row in range(60):
            everything = reasons(whole, row)
            assert everything == sorted(everything, key=lambda reason: (-reason[1], reason[0]))
            assert reasons(found, row) == everything[:k]


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_ties_go_to_the_smaller_item_index(rng: np.random.Generator, k: int) -> None:
    # Six kinds of item; a third of the items have no factors, and so impacts of zero, by their targets of either sign.
    kinds = np.arange(30) % 6
    system = random_system(rng, n_items=30, d=4, has_bias=False)
    system.item_factors[:] = system.item_factors[kinds]
    system.item_factors[2::3] = 0
    system.targets[:] = np.where(kinds % 2, 1, -1)
    histories, ranking = histories_of(list(range(20))), ranking_of(list(range(20, 30)))
    whole, found = (
        explain(system, histories=histories, ranking=ranking, counts=counts_of(count)) for count in (ALL, k)
    )
    for row in range(10):
        everything = reasons(whole, row)
        assert len(everything) == 20 and len({impact for _, impact in everything}) <= 5
        assert reasons(found, row) == sorted(everything, key=lambda reason: (-reason[1], reason[0]))[:k]


def test_requests_without_explanation_and_unknown_items_are_skipped(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=9, d=4, has_bias=True)
    histories = histories_of([0, 1], [2, 3])
    ranking = ranking_of([4, 5], [UNKNOWN_ITEM, 6])
    found = explain(system, histories=histories, ranking=ranking, counts=counts_of(0, 1))
    assert np.isnan(found.baselines).tolist() == [True, True, True, False]
    assert np.diff(found.indptr).tolist() == [0, 0, 0, 1]
    nothing = explain(system, histories=histories_of(), ranking=ranking_of(), counts=counts_of())
    assert nothing.indptr.tolist() == [0] and not len(nothing.baselines)


def test_a_request_that_is_not_explained_is_not_solved(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=9, d=4, has_bias=False)
    system.item_factors[2] = np.nan
    histories, ranking = histories_of([1], [2]), ranking_of([4], [5])
    explain(system, histories=histories, ranking=ranking, counts=counts_of(1, 0))
    with pytest.raises(AlgorithmError, match="history 2 is not positive definite"):
        explain(system, histories=histories, ranking=ranking, counts=counts_of(1, 1))


def columns(found: Explanations) -> tuple[NDArray[np.float32], ...]:
    return (
        np.diff(found.indptr).astype(np.float32),
        found.item_indices.astype(np.float32),
        found.influences,
        found.impacts,
        found.baselines,
        found.own_impacts,
    )


@pytest.mark.parametrize(("has_bias", "d"), [(False, 8), (True, 19)])
def test_an_explanation_has_the_same_bytes_alone_in_7s_and_in_1000s(
    rng: np.random.Generator, has_bias: bool, d: int
) -> None:
    system = random_system(rng, n_items=300, d=d, has_bias=has_bias)
    histories = random_histories(rng, rng.integers(0, 90, 1000).tolist(), n_items=300)
    items = rng.integers(UNKNOWN_ITEM, 300, (1000, 3)).astype(np.int32)
    counts = rng.integers(0, 6, 1000)

    def answer(which: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        ranking = ranking_of(*items[which].tolist())
        return columns(explain(system, histories=taken(histories, which), ranking=ranking, counts=counts[which]))

    whole = in_groups(1000, 1000, answer)
    assert in_groups(1000, 1, answer) == whole
    assert in_groups(1000, 7, answer) == whole


@pytest.mark.parametrize("d", [5, 19, 64])
def test_where_the_arrays_stand_in_memory_does_not_change_a_byte(rng: np.random.Generator, d: int) -> None:
    system = random_system(rng, n_items=300, d=d, has_bias=True)
    histories = random_histories(rng, [1, 3, 50, 97], n_items=300)
    ranking = ranking_of(*rng.integers(0, 300, (4, 5)).tolist())

    def answer(system: RowSystem) -> list[bytes]:
        found = explain(system, histories=histories, ranking=ranking, counts=np.full(4, 9))
        return [column.tobytes() for column in columns(found)]

    expected = answer(system)
    for offset in (1, 2, 3, 5, 8, 13):
        assert answer(elsewhere_in_memory(system, offset)) == expected


def test_influence_and_impact_are_equal_whatever_the_count(rng: np.random.Generator) -> None:
    # An implicit model fits the value 1 for an item taken five times, too: the count only sets the confidence.
    system = als_system_of_one(rng.standard_normal((20, 4)).astype(np.float32), regularization=0.3)
    histories = histories_of([1, 2, 3])
    heavy = Rows(histories.indptr, histories.indices, np.array([5, 1, 1], np.float32))
    light, weighted = (
        explain(system, histories=rows, ranking=ranking_of([9]), counts=counts_of(ALL)) for rows in (histories, heavy)
    )
    assert np.array_equal(weighted.influences, weighted.impacts)
    assert dict(reasons(weighted, 0))[1] != dict(reasons(light, 0))[1]


def test_targets_and_constants_of_a_made_up_system_enter_impacts_and_baseline(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=20, d=4, has_bias=True)
    histories, ranking = histories_of([1, 2, 3]), ranking_of([9])
    doubled = replace(system, targets=2 * system.targets, constant=3 * system.constant, offsets=system.offsets + 1)
    one, other = (explain(s, histories=histories, ranking=ranking, counts=counts_of(ALL)) for s in (system, doubled))
    np.testing.assert_allclose(sorted(other.impacts), sorted(2 * one.impacts), rtol=1e-5)
    expected = 3 * (one.baselines - system.offsets[9]) + system.offsets[9] + 1
    np.testing.assert_allclose(other.baselines, expected, rtol=1e-4, atol=1e-5)


def folded(system: RowSystem, histories: Rows) -> Subjects:
    return Subjects(*fold_in(system, histories), histories)


def ranked_by(system: RowSystem, subjects: Subjects) -> NDArray[np.float64]:
    """Return x̂ of every item for every user.  # (users, items)."""
    products = subjects.factors.astype(np.float64) @ system.item_factors.T.astype(np.float64)
    return np.asarray(products + subjects.biases[:, None] + system.offsets)


def of_every_item(system: RowSystem, subjects: Subjects) -> Explanations:
    users, n_items = subjects.factors.shape[0], len(system.item_factors)
    ranking = ranking_of(*[list(range(n_items))] * users)
    return explain_subjects(system, subjects=subjects, ranking=ranking, counts=np.full(users, ALL))


def assert_sums(system: RowSystem, subjects: Subjects, found: Explanations, *, within: float = 1e-4) -> None:
    """Check that baseline, own impact and reasons add up to x̂ of every item."""
    for row, expected in enumerate(ranked_by(system, subjects).ravel()):
        impacts = [impact for _, impact in reasons(found, row)]
        total = found.baselines[row] + sum(impacts) + np.nan_to_num(found.own_impacts[row])
        assert total == pytest.approx(expected, abs=within * max(1.0, *np.abs(impacts), abs(expected)))


systems_of_ratings = pytest.mark.parametrize(
    "changes",
    [
        {"has_bias": True},
        {"has_bias": False},
        {"has_bias": True, "loss": "logistic", "like_above": 3.0},
        {"has_bias": False, "loss": "logistic", "like_above": 3.0},
        {"has_bias": True, "loss": "poisson"},
        {"has_bias": False, "non_negative": True},
        {"has_bias": False, "non_negative": True, "every_cell": True},
    ],
    ids=lambda changes: " ".join(str(value) for value in changes.values()),
)


def explained_system(rng: np.random.Generator, *, has_bias: bool, **changes: Any) -> RowSystem:
    """Make up a system of ratings; a non-negative one has items without negative numbers, and no means."""
    if not changes.get("non_negative"):
        return rated_system(rng, n_items=40, d=6, has_bias=has_bias, **changes)
    h = rng.uniform(0, 1, (40, 6)).astype(np.float32)
    nothing = np.zeros(40, np.float32)
    gram = h.T.astype(np.float64) @ h if changes.get("every_cell") else np.zeros((6, 6))
    changes = {"item_factors": h, "gram": gram, "targets": nothing, "offsets": nothing, **changes}
    return rated_system(rng, n_items=40, d=6, has_bias=has_bias, **changes)


@systems_of_ratings
def test_impacts_of_ratings_add_up_to_what_the_item_is_ranked_by(
    rng: np.random.Generator, changes: dict[str, Any]
) -> None:
    system = explained_system(rng, **changes)
    subjects = folded(system, random_histories(rng, [1, 2, 7, 30], n_items=40))
    found = of_every_item(system, subjects)
    assert_sums(system, subjects, found)
    # What no rating explains is μ + b_u + b_i.
    expected = (subjects.biases[:, None] + system.offsets).ravel()
    np.testing.assert_allclose(found.baselines, expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(found.influences, found.impacts)


def test_an_influence_of_a_rating_is_an_entry_of_the_inverse_of_the_factors_alone(rng: np.random.Generator) -> None:
    system = explained_system(rng, has_bias=True)
    histories = random_histories(rng, [9], n_items=40)
    subjects = folded(system, histories)
    found = of_every_item(system, subjects)
    h = system.item_factors.astype(np.float64)
    mine = h[histories.indices]
    A = mine.T @ mine + float(system.penalties(histories.counts)[0]) * np.eye(6)
    influences = h @ np.linalg.solve(A, mine.T)  # (items, history)
    left = histories.weights + system.targets[histories.indices] - subjects.biases[0]
    for i in range(40):
        for item, impact in reasons(found, i):
            k = histories.indices.tolist().index(item)
            assert impact == pytest.approx(influences[i, k] * left[k], rel=1e-4, abs=1e-5)
        part = slice(found.indptr[i], found.indptr[i + 1])
        places = np.searchsorted(histories.indices, found.item_indices[part])
        np.testing.assert_allclose(found.influences[part], influences[i, places], rtol=1e-4, atol=1e-6)


def test_a_bad_rating_of_what_is_alike_speaks_against_an_item(rng: np.random.Generator) -> None:
    # Trap: implicit models know no dislikes, so that whatever is alike speaks for an item.
    system = rated_system(
        rng,
        n_items=3,
        d=2,
        has_bias=False,
        item_factors=np.array([[1, 0], [0, 1], [1, 0.1]], np.float32),
        targets=np.full(3, -3.0, np.float32),
        offsets=np.full(3, 3.0, np.float32),
    )
    histories = histories_of([0, 1])
    histories.weights[:] = [1, 5]
    found = explain_subjects(system, subjects=folded(system, histories), ranking=ranking_of([2]), counts=counts_of(ALL))
    assert [item for item, _ in reasons(found, 0)] == [1, 0]  # by impact
    assert found.impacts[1] < 0 < found.influences[1]
    assert found.influences[1] > found.influences[0]


def test_the_bias_that_users_have_is_the_one_that_explains(rng: np.random.Generator) -> None:
    # A stored bias may differ from the folded-in one in its last digits, and the score has the stored one.
    system = explained_system(rng, has_bias=True)
    subjects = folded(system, random_histories(rng, [12], n_items=40))
    found, moved = (
        of_every_item(system, replace(subjects, biases=subjects.biases + np.float32(by))) for by in (0, 0.5)
    )
    np.testing.assert_allclose(moved.baselines, found.baselines + 0.5, rtol=1e-5, atol=1e-5)
    assert sorted(moved.influences) == sorted(found.influences)


def test_components_that_are_zero_have_no_part_in_an_explanation(rng: np.random.Generator) -> None:
    system = explained_system(rng, has_bias=False, non_negative=True, every_cell=True)
    subjects = folded(system, random_histories(rng, [4], n_items=40))
    active = np.flatnonzero(subjects.factors[0])
    assert 0 < len(active) < 6
    found = of_every_item(system, subjects)
    A = system.gram[np.ix_(active, active)] + float(system.penalties(subjects.histories.counts)[0]) * np.eye(
        len(active)
    )
    h = system.item_factors[:, active].astype(np.float64)
    influences = h @ np.linalg.solve(A, h[subjects.histories.indices].T)
    for i in range(40):
        for (item, _), influence in zip(reasons(found, i), found.influences[found.indptr[i] :], strict=False):
            k = subjects.histories.indices.tolist().index(item)
            assert influence == pytest.approx(influences[i, k], rel=1e-4, abs=1e-6)


@systems_of_ratings
def test_an_explanation_of_ratings_has_the_same_bytes_alone_in_7s_and_in_1000s(
    rng: np.random.Generator, changes: dict[str, Any]
) -> None:
    system = explained_system(rng, **changes)
    subjects = folded(system, random_histories(rng, rng.integers(0, 30, 200).tolist(), n_items=40))
    items = rng.integers(UNKNOWN_ITEM, 40, (200, 3)).astype(np.int32)
    counts = rng.integers(0, 6, 200)

    def answer(which: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        part = Subjects(subjects.factors[which], subjects.biases[which], taken(subjects.histories, which))
        found = explain_subjects(
            system, subjects=part, ranking=ranking_of(*items[which].tolist()), counts=counts[which]
        )
        return columns(found)

    whole = in_groups(200, 200, answer)
    assert in_groups(200, 1, answer) == whole
    assert in_groups(200, 7, answer) == whole


@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson"])
def test_a_request_about_ratings_that_is_not_explained_is_not_solved(rng: np.random.Generator, loss: str) -> None:
    system = rated_system(rng, n_items=9, d=4, has_bias=True, loss=loss)
    system.item_factors[2] = np.nan
    histories, ranking = histories_of([1], [2]), ranking_of([4], [5])
    explain(system, histories=histories, ranking=ranking, counts=counts_of(1, 0))
    with pytest.raises(AlgorithmError, match="history 2 is not positive definite"):
        explain(system, histories=histories, ranking=ranking, counts=counts_of(0, 1))


_MEMORY = """
import resource
import numpy as np
from factorbox.recommend.explanations import explain
from factorbox.recommend.lists import taken
from factorbox.recommend.subjects import Subjects
from factorbox.recommend.top_n import Ranking
from row_system_support import random_histories, random_system

rng = np.random.default_rng(1)
system = random_system(rng, n_items=50_000, d=64, has_bias=True)
histories = random_histories(rng, [75] * 200, n_items=50_000)

def ask(requests, rows):
    explained = np.arange(requests * rows, dtype=np.int32)
    ranking = Ranking(np.arange(requests + 1) * rows, explained, np.zeros(len(explained), np.float32))
    part = taken(histories, np.arange(requests))
    subjects = Subjects(np.zeros((requests, 64), np.float32), np.zeros(requests, np.float32), part)
    return explain(system, subjects=subjects, ranking=ranking, counts=np.full(requests, 3))

ask(1, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = ask(200, 250)
assert found.indptr[-1] == 3 * 200 * 250
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_every_item_of_a_large_catalogue_is_explained_without_a_matrix_of_items_by_items() -> None:
    tests = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    done = subprocess.run([sys.executable, "-c", _MEMORY], env=environment, capture_output=True, text=True, check=True)
    # Items by items would be 10 GB, and items by the history 15 MB; the answer is 2 MB.
    assert int(done.stdout) < 12 * 1024
