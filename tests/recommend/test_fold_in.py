"""Fold-in against training, against a dense solve, and at its edges."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from answering_support import VARIANTS, fitted
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.base import ItemSide
from factorbox.models.confidence import TRANSFORMS
from factorbox.models.network import NetworkProblem
from factorbox.models.row_system import RowSystem
from factorbox.recommend.fold_in import fold_in
from factorbox.recommend.lists import starts_of, taken
from factorbox.recommend.network_fold_in import fold_in_network
from row_system_support import (
    dense_row,
    dense_system,
    elsewhere_in_memory,
    features,
    histories_of,
    in_groups,
    random_histories,
    random_system,
    rated_system,
)
from support import clustered_interactions, interactions_from_rows


def als_system(
    item_factors: NDArray[np.float32], *, unobserved_weight: float, regularization: float, alpha: float = 1.0
) -> RowSystem:
    config = ALSConfig(
        embedding_dim=item_factors.shape[1],
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        alpha=alpha,
    )
    biases = np.zeros(len(item_factors), np.float32)
    return ALS().row_system(config, ItemSide(item_factors, biases))


def assert_training_users_get_themselves(interactions: Interactions, *, asked: ALSConfig, random_state: int) -> None:
    """Train, fold every user's own history in, and compare vectors and rankings.

    A vector may be off by 1e-4 of its length and a ranking by 1e-5 in a score, or by what training leaves, where that
    is more: it ends with a relative residual of 1e-6, which is up to 1e-6 times the condition of the system.
    """
    config = ALS().resolved(asked, interactions=interactions)
    trained = ALS().fit(interactions, config=asked, random_state=random_state)
    system = ALS().row_system(config, trained.item_side)
    histories = interactions.by_user()
    folded, biases = fold_in(system, histories)
    assert not biases.any()

    conditions = [np.linalg.cond(dense_system(system, histories, row)[0]) for row in range(len(folded))]
    left_by_training = 1.1e-6 * np.array(conditions) * np.linalg.norm(trained.user_factors, axis=1)  # (users,)
    distances = np.linalg.norm(folded - trained.user_factors, axis=1)
    assert (distances <= np.maximum(left_by_training, 1e-4 * np.linalg.norm(trained.user_factors, axis=1))).all()

    h = trained.item_factors.astype(np.float64)
    stored_scores = trained.user_factors @ h.T
    order = np.argsort(-(folded @ h.T), axis=1, kind="stable")
    in_order = np.take_along_axis(stored_scores, order, axis=1)
    best_below = np.maximum.accumulate(in_order[:, ::-1], axis=1)[:, ::-1]
    allowed = np.maximum(1e-5, 2 * left_by_training * np.linalg.norm(h, axis=1).max())
    assert ((best_below - in_order).max(axis=1) <= allowed).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    embedding_dim=st.integers(1, 24),
    unobserved_weight=st.floats(0.01, 1),
    regularization=st.floats(1e-2, 1),
    exponent=st.floats(0, 1.5),
    alpha=st.none() | st.floats(0.1, 20),
    confidence=st.sampled_from(TRANSFORMS),
)
@settings(max_examples=60)
def test_a_training_users_own_history_gives_the_stored_vector_and_ranking(
    seed: int,
    embedding_dim: int,
    unobserved_weight: float,
    regularization: float,
    exponent: float,
    alpha: float | None,
    confidence: str,
) -> None:
    # Trap: different systems in training and in fold-in (another penalty, another confidence, no α0).
    rng = np.random.default_rng(seed)
    n_items = int(rng.integers(5, 60))
    rows = [
        sorted(rng.choice(n_items, size=rng.integers(1, n_items), replace=False).tolist())
        for _ in range(rng.integers(2, 40))
    ]
    weights = [rng.integers(1, 6, size=len(row)).tolist() for row in rows]
    asked = ALSConfig(
        embedding_dim=embedding_dim,
        epochs=3,
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        regularization_exponent=exponent,
        alpha=alpha,
        confidence=confidence,
    )
    interactions = interactions_from_rows(rows, n_items=n_items, weights=weights)
    assert_training_users_get_themselves(interactions, asked=asked, random_state=seed % 1000)


@pytest.mark.parametrize("embedding_dim", [8, 64])
def test_with_default_hyperparameters_a_training_user_gets_the_stored_vector(
    rng: np.random.Generator, embedding_dim: int
) -> None:
    interactions = clustered_interactions(rng, n_users=300, n_items=120, weighted=True)
    asked = ALSConfig(embedding_dim=embedding_dim)
    config = ALS().resolved(asked, interactions=interactions)
    trained = ALS().fit(interactions, config=asked, random_state=1)
    system = ALS().row_system(config, trained.item_side)
    folded, _ = fold_in(system, interactions.by_user())
    np.testing.assert_allclose(folded, trained.user_factors, rtol=0, atol=1e-4 * np.abs(trained.user_factors).max())
    h = trained.item_factors.T.astype(np.float64)
    np.testing.assert_allclose(folded @ h, trained.user_factors @ h, rtol=0, atol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 70),
    lengths=st.lists(st.integers(0, 150) | st.sampled_from([31, 32, 33, 64]), max_size=5),
    has_bias=st.booleans(),
    alpha=st.none() | st.floats(0.01, 50),
)
def test_a_row_solves_the_system_as_it_is_written(
    seed: int, d: int, lengths: list[int], has_bias: bool, alpha: float | None
) -> None:
    rng = np.random.default_rng(seed)
    system = random_system(rng, n_items=150, d=d, has_bias=has_bias, alpha=alpha)
    histories = random_histories(rng, lengths, n_items=150)
    factors, biases = fold_in(system, histories)
    assert factors.shape == (len(lengths), d) and biases.shape == (len(lengths),)
    assert factors.dtype == biases.dtype == np.float32
    for row in range(len(lengths)):
        A, columns = dense_system(system, histories, row)
        expected = np.linalg.solve(A, system.constant + columns.sum(axis=1))
        found = np.append(factors[row], biases[row])[: len(expected)]
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
        assert has_bias or biases[row] == 0


@pytest.mark.parametrize(("d", "length"), [(300, 40), (32, 20_000), (257, 600)])
def test_large_systems_and_long_histories_are_solved(rng: np.random.Generator, d: int, length: int) -> None:
    system = random_system(rng, n_items=20_000, d=d, has_bias=True)
    histories = random_histories(rng, [length], n_items=20_000)
    part = features(system)[histories.indices]
    c = 1.5 * histories.weights.astype(np.float64)
    A = system.gram + (part.T * c) @ part + float(system.penalties(histories.counts)[0]) * np.eye(d + 1)
    expected = np.linalg.solve(A, system.constant + part.T @ (c * system.targets[histories.indices]))
    factors, biases = fold_in(system, histories)
    assert np.linalg.norm(np.append(factors[0], biases) - expected) <= 1e-5 * np.linalg.norm(expected)


def test_no_history_at_all_gives_no_rows_and_one_without_items_the_constant_part(rng: np.random.Generator) -> None:
    # Trap: an empty fold-in that crashes, or is NaN.
    system = random_system(rng, n_items=9, d=4, has_bias=True)
    factors, biases = fold_in(system, histories_of())
    assert factors.shape == (0, 4) and biases.shape == (0,)
    factors, biases = fold_in(system, histories_of([], [2, 5], []))
    A, _ = dense_system(system, histories_of([]), 0)
    np.testing.assert_allclose(np.append(factors[0], biases[0]), np.linalg.solve(A, system.constant), rtol=1e-5)
    assert factors[2].tobytes() == factors[0].tobytes() and biases[2] == biases[0]

    als = als_system(system.item_factors, unobserved_weight=0.1, regularization=0.1)
    assert not fold_in(als, histories_of([]))[0].any()


def test_a_singular_system_gives_the_shortest_row_that_fits_the_history(rng: np.random.Generator) -> None:
    h = rng.standard_normal((30, 8)).astype(np.float32)
    system = als_system(h, unobserved_weight=0, regularization=0)
    histories = histories_of([3, 7, 20], [4], [], list(range(30)))
    assert np.linalg.matrix_rank(dense_system(system, histories, 0)[0]) == 3
    factors, _ = fold_in(system, histories)
    for row, items in enumerate(([3, 7, 20], [4])):
        shortest = np.linalg.pinv(h[items].astype(np.float64)) @ np.ones(len(items))
        np.testing.assert_allclose(factors[row], shortest, rtol=1e-4, atol=1e-6)
    assert not factors[2].any()
    # A history that determines its row is not touched.
    fitted, *_ = np.linalg.lstsq(h.astype(np.float64), np.ones(30), rcond=None)
    np.testing.assert_allclose(factors[3], fitted, rtol=1e-5, atol=1e-6)


def test_items_without_factors_give_a_zero_row_even_without_a_penalty() -> None:
    system = als_system(np.zeros((5, 3), np.float32), unobserved_weight=0, regularization=0)
    assert not fold_in(system, histories_of([0, 4]))[0].any()


@pytest.mark.parametrize("weight", [1e-45, 1e-20, 1e12, 1e20, float(np.finfo(np.float32).max)])
def test_weights_of_any_size_give_a_finite_row(rng: np.random.Generator, weight: float) -> None:
    h = rng.standard_normal((40, 6)).astype(np.float32)
    system = als_system(h, unobserved_weight=0.3, regularization=0.4, alpha=40.0)
    factors, _ = fold_in(system, histories_of([1, 17], weight=weight))
    assert np.isfinite(factors).all()
    # A weight beyond all else makes the scores 1.
    np.testing.assert_allclose(factors[0] @ h[[1, 17]].T, 1 if weight > 1 else 0, atol=1e-4)


def test_numbers_that_are_not_finite_are_refused_with_the_remedy(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=9, d=4, has_bias=False)
    system.item_factors[5, 2] = np.nan
    with pytest.raises(AlgorithmError, match=r"history 2 .* more regularization, or unobserved_weight above 0"):
        fold_in(system, histories_of([1], [4, 5]))
    assert np.isfinite(fold_in(system, histories_of([1], [4]))[0]).all()


@pytest.mark.parametrize(("has_bias", "d"), [(False, 8), (True, 19)])
def test_a_history_gets_the_same_bytes_alone_in_7s_and_in_1000s(
    rng: np.random.Generator, has_bias: bool, d: int
) -> None:
    system = random_system(rng, n_items=300, d=d, has_bias=has_bias)
    histories = random_histories(rng, rng.integers(1, 90, 1000).tolist(), n_items=300)

    def answer(which: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        return fold_in(system, taken(histories, which))

    whole = in_groups(1000, 1000, answer)
    assert in_groups(1000, 1, answer) == whole
    assert in_groups(1000, 7, answer) == whole


@pytest.mark.parametrize("d", [5, 19, 64])
def test_where_the_arrays_stand_in_memory_does_not_change_a_byte(rng: np.random.Generator, d: int) -> None:
    system = random_system(rng, n_items=300, d=d, has_bias=True)
    histories = random_histories(rng, [1, 3, 50, 97], n_items=300)
    expected = [column.tobytes() for column in fold_in(system, histories)]
    for offset in (1, 2, 3, 5, 8, 13):
        found = fold_in(elsewhere_in_memory(system, offset), histories)
        assert [column.tobytes() for column in found] == expected


def test_several_threads_at_once_get_the_same_bytes_as_one(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=300, d=24, has_bias=True)
    histories = random_histories(rng, [40] * 64, n_items=300)
    expected = fold_in(system, histories)[0].tobytes()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fold_in(system, histories)[0].tobytes(), range(16)))
    assert set(found) == {expected}


def test_without_alpha_the_weights_do_not_matter(rng: np.random.Generator) -> None:
    system = random_system(rng, n_items=50, d=6, has_bias=True, alpha=None)
    histories = random_histories(rng, [10, 20], n_items=50)
    doubled = Rows(histories.indptr, histories.indices, histories.weights * 2)
    assert fold_in(system, histories)[0].tobytes() == fold_in(system, doubled)[0].tobytes()
    weighted = replace(system, alpha=1.0)
    assert fold_in(weighted, histories)[0].tobytes() != fold_in(weighted, doubled)[0].tobytes()


def test_an_item_with_weight_two_counts_as_two_observations_but_one_item(rng: np.random.Generator) -> None:
    # |S| counts distinct items, so the penalty stays while the confidence doubles.
    system = random_system(rng, n_items=20, d=3, has_bias=False, alpha=0.5)
    once = Rows(starts_of(np.array([1])), np.array([4], np.int32), np.array([2.0], np.float32))
    A = system.gram + np.outer(h := system.item_factors[4].astype(np.float64), h)
    A += np.eye(3) * 0.4 * 4.0**0.7
    expected = np.linalg.solve(A, system.constant + float(system.targets[4]) * h)
    np.testing.assert_allclose(fold_in(system, once)[0][0], expected, rtol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 30),
    lengths=st.lists(st.integers(0, 90), max_size=4),
    has_bias=st.booleans(),
    every_cell=st.booleans(),
)
def test_ratings_are_fitted_as_they_are_and_not_as_confidences(
    seed: int, d: int, lengths: list[int], has_bias: bool, every_cell: bool
) -> None:
    rng = np.random.default_rng(seed)
    system = rated_system(rng, n_items=90, d=d, has_bias=has_bias, every_cell=every_cell)
    if every_cell:
        x = features(system)
        system = replace(system, gram=x.T @ x)
    histories = random_histories(rng, lengths, n_items=90)
    histories = replace(histories, weights=rng.normal(1, 3, len(histories.weights)).astype(np.float32))
    factors, biases = fold_in(system, histories)
    for row in range(len(lengths)):
        expected = dense_row(system, histories, row)
        found = np.append(factors[row], biases[row])[: len(expected)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()))


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 12),
    lengths=st.lists(st.integers(0, 60), max_size=3),
    has_bias=st.booleans(),
    loss=st.sampled_from([("logistic", None), ("logistic", 3.0), ("poisson", None)]),
    constant=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    regularization=st.sampled_from([1e-3, 0.1, 3.0]),
)
@settings(max_examples=60)
def test_a_row_minimises_the_loss_that_is_not_squared(
    seed: int,
    d: int,
    lengths: list[int],
    has_bias: bool,
    loss: tuple[str, float | None],
    constant: bool,
    scale: float,
    regularization: float,
) -> None:
    rng = np.random.default_rng(seed)
    system = rated_system(rng, n_items=60, d=d, has_bias=has_bias, loss=loss[0], like_above=loss[1])
    system = replace(system, regularization=regularization, item_factors=system.item_factors * np.float32(scale))
    if constant:
        system = replace(system, gram=np.eye(d + has_bias), constant=rng.standard_normal(d + has_bias))
    histories = random_histories(rng, lengths, n_items=60)
    whole = replace(histories, weights=rng.integers(-1, 6, len(histories.weights)).astype(np.float32))
    if loss[0] == "poisson":
        whole.weights[:] = np.abs(whole.weights)
    factors, biases = fold_in(system, whole)
    for row in range(len(lengths)):
        expected = dense_row(system, whole, row)
        found = np.append(factors[row], biases[row])[: len(expected)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()))
        assert has_bias or biases[row] == 0


@pytest.mark.parametrize(
    ("ratings", "same"),
    [
        ([3.0, 3.5, 1.0], [0.0, 1.0, 0.0]),  # as like_above=3 labels them
        ([3.0, 5.0, -7.0], [0.0, 1.0, 0.0]),
    ],
)
def test_ratings_above_the_threshold_are_likes_and_all_others_are_none(
    rng: np.random.Generator, ratings: list[float], same: list[float]
) -> None:
    system = rated_system(rng, n_items=9, d=3, has_bias=True, loss="logistic")
    rows = histories_of([1, 4, 7])
    rated, labelled = (replace(rows, weights=np.array(values, np.float32)) for values in (ratings, same))
    threshold = replace(system, like_above=3.0)
    assert fold_in(threshold, rated)[0].tobytes() == fold_in(system, labelled)[0].tobytes()


def test_a_rating_equal_to_the_threshold_is_no_like_whatever_its_digits(rng: np.random.Generator) -> None:
    # Trap: 3.7 as float32 is above 3.7 as float64.
    system = rated_system(rng, n_items=9, d=3, has_bias=False, loss="logistic", like_above=3.7)
    none = fold_in(system, histories_of([1, 4], weight=1.0))[0]
    assert fold_in(system, histories_of([1, 4], weight=3.7))[0].tobytes() == none.tobytes()
    assert fold_in(system, histories_of([1, 4], weight=3.8))[0].tobytes() != none.tobytes()


def test_labels_outside_0_and_1_count_as_the_nearest(rng: np.random.Generator) -> None:
    system = rated_system(rng, n_items=9, d=3, has_bias=True, loss="logistic")
    for given_label, label in ((-1.0, 0.0), (7.0, 1.0)):
        found, expected = (fold_in(system, histories_of([1, 4], weight=weight)) for weight in (given_label, label))
        assert found[0].tobytes() == expected[0].tobytes()


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
@pytest.mark.parametrize("rating", [0.0, 1.0, 1e6, 1e30, float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("regularization", [0.0, 1e-8, 0.1])
def test_ratings_of_any_size_give_a_finite_row(
    rng: np.random.Generator, loss: str, rating: float, regularization: float
) -> None:
    # Trap: a Newton step from a count that is expected to be 1 to one of 1e30 overflows; labels that can be told
    # apart have no finite solution without a penalty.
    system = rated_system(rng, n_items=40, d=6, has_bias=True, loss=loss, regularization=regularization)
    factors, biases = fold_in(system, histories_of([1, 17], weight=rating))
    assert np.isfinite(factors).all() and np.isfinite(biases).all()
    if loss == "poisson" and rating >= 1e6:
        x = system.offsets[[1, 17]] + system.item_factors[[1, 17]] @ factors[0] + biases[0]
        np.testing.assert_allclose(x, np.log(rating), rtol=1e-3)


@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson"])
def test_a_history_of_ratings_gets_the_same_bytes_alone_in_7s_and_in_1000s(rng: np.random.Generator, loss: str) -> None:
    system = rated_system(rng, n_items=300, d=9, has_bias=True, loss=loss, regularization=0.05)
    histories = random_histories(rng, rng.integers(0, 60, 1000).tolist(), n_items=300)

    def answer(which: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        return fold_in(system, taken(histories, which))

    whole = in_groups(1000, 1000, answer)
    assert in_groups(1000, 1, answer) == whole
    assert in_groups(1000, 7, answer) == whole


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_where_the_arrays_stand_in_memory_does_not_change_a_byte_of_any_loss(
    rng: np.random.Generator, loss: str
) -> None:
    system = rated_system(rng, n_items=300, d=19, has_bias=True, loss=loss)
    histories = random_histories(rng, [1, 3, 50, 97], n_items=300)
    expected = [column.tobytes() for column in fold_in(system, histories)]
    for offset in (1, 2, 3, 5, 8, 13):
        found = fold_in(elsewhere_in_memory(system, offset), histories)
        assert [column.tobytes() for column in found] == expected


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_numbers_that_are_not_finite_are_refused_for_every_loss(rng: np.random.Generator, loss: str) -> None:
    system = rated_system(rng, n_items=9, d=4, has_bias=True, loss=loss)
    system.item_factors[5, 2] = np.nan
    with pytest.raises(AlgorithmError, match="history 2 is not positive definite"):
        fold_in(system, histories_of([1], [4, 5]))
    assert np.isfinite(fold_in(system, histories_of([1], [4]))[0]).all()


def test_where_no_number_may_be_negative_the_row_is_that_of_scipys_solver(rng: np.random.Generator) -> None:
    h = rng.uniform(0, 1, (40, 6)).astype(np.float32)
    gram = h.T.astype(np.float64) @ h
    system = rated_system(
        rng,
        n_items=40,
        d=6,
        has_bias=False,
        item_factors=h,
        gram=gram,
        targets=np.zeros(40, np.float32),
        every_cell=True,
        non_negative=True,
    )
    histories = random_histories(rng, [1, 5, 20], n_items=40)
    factors, biases = fold_in(system, histories)
    assert not biases.any() and (factors >= 0).all() and (factors == 0).any()
    for row in range(3):
        np.testing.assert_allclose(factors[row], dense_row(system, histories, row), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("mlp")])
def test_a_network_is_folded_in_by_its_own_solver(variant: str) -> None:
    model = fitted(variant)
    histories = taken(model.model.history, np.arange(5))
    assert isinstance(model.problem, NetworkProblem)
    for found, expected in zip(
        fold_in(model.problem, histories), fold_in_network(model.problem, histories), strict=True
    ):
        assert found.tobytes() == expected.tobytes()
