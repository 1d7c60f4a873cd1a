"""What every algorithm must do, whichever it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Epoch, Factors, Watch
from factorbox.models.row_system import FoldInProblem, RowSystem
from factorbox.options import options_of
from factorbox.recommend.fold_in import fold_in
from model_support import assert_same_model, clusters_for, every_algorithm, quick, scores, takes_ratings
from support import clustered_interactions, interactions_from_rows


def fitted_system(
    algorithm: Algorithm, interactions: Interactions, *, threads: int = 1, **changes: Any
) -> tuple[Factors, FoldInProblem]:
    config = algorithm.resolved(quick(algorithm, **changes), interactions=interactions)
    factors = algorithm.fit(interactions, config=config, random_state=1, threads=threads)
    system = algorithm.row_system(config, factors.item_side)
    return factors, system


@every_algorithm
def test_shapes_and_types(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=40, n_items=40)
    factors = algorithm.fit(interactions, config=quick(algorithm), random_state=1)
    # A network keeps the input of its first hidden layer.
    d = factors.user_factors.shape[1] if factors.layers else 8
    assert factors.user_factors.shape == (40, d) and factors.item_factors.shape == (40, d)
    assert factors.user_biases.shape == (40,) and factors.item_biases.shape == (40,)
    arrays = (factors.user_factors, factors.item_factors, factors.user_biases, factors.item_biases)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays)
    assert all(np.isfinite(array).all() for array in arrays)
    assert factors.epochs == 4 and np.isfinite(factors.train_loss)


@every_algorithm
def test_users_prefer_unseen_items_of_their_own_cluster(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    factors = algorithm.fit(interactions, config=quick(algorithm, epochs=40), random_state=1)
    ranked = scores(factors)
    hits = 0
    for user in range(interactions.n_users):
        ranked[user, interactions.items_of(user)] = -np.inf
        hits += int((np.argsort(-ranked[user])[:5] % 4 == user % 4).sum())
    # By chance a fifth of what is left is of one's own cluster.
    assert hits / (5 * interactions.n_users) > 0.6


@every_algorithm
def test_same_seed_gives_the_same_bytes_whatever_the_threads(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=300, n_items=80, weighted=True)
    fitted = [
        algorithm.fit(interactions, config=quick(algorithm), random_state=7, threads=threads) for threads in (1, 2, 3)
    ]
    for other in fitted[1:]:
        assert_same_model(fitted[0], other)


@every_algorithm
def test_another_seed_gives_another_model(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=40, n_items=40)
    one, other = (algorithm.fit(interactions, config=quick(algorithm), random_state=seed) for seed in (0, 1))
    assert not np.array_equal(one.item_factors, other.item_factors)


@every_algorithm
@pytest.mark.parametrize("rows", [[[0], [1]], [[0, 1], [2]], [[2]]], ids=str)
def test_the_smallest_data_sets_train(algorithm: Algorithm, rows: list[list[int]]) -> None:
    interactions = interactions_from_rows(rows, n_items=3)
    factors = algorithm.fit(interactions, config=quick(algorithm), random_state=1)
    assert np.isfinite(scores(factors)).all()


@every_algorithm
@pytest.mark.parametrize("rows", [[[0]], [[0, 1, 2]], [[0], [0], [0]]], ids=str)
def test_data_without_a_single_negative_train_or_are_refused(algorithm: Algorithm, rows: list[list[int]]) -> None:
    interactions = interactions_from_rows(rows, n_items=1 + max(item for row in rows for item in row))
    if algorithm.name == "als" or takes_ratings(algorithm):
        assert np.isfinite(scores(algorithm.fit(interactions, config=quick(algorithm), random_state=1))).all()
    else:
        with pytest.raises(UserError, match="no negatives to learn from: train with algorithm=als"):
            algorithm.fit(interactions, config=quick(algorithm), random_state=1)


@every_algorithm
def test_a_stop_ends_after_the_first_sweep_with_a_whole_model(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=40, n_items=40)
    seen: list[Epoch] = []
    watch = Watch(on_epoch=seen.append, should_stop=lambda: True)
    factors = algorithm.fit(interactions, config=quick(algorithm, epochs=50), random_state=1, watch=watch)
    assert [epoch.number for epoch in seen] == [1]
    assert factors.epochs == 1
    assert factors.user_factors.any() and np.isfinite(scores(factors)).all()


@every_algorithm
def test_a_snapshot_is_the_model_of_its_epoch(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=40, n_items=40)
    seen: list[Any] = []

    def look(epoch: Epoch) -> None:
        snapshot = epoch.snapshot()
        assert snapshot.epochs == epoch.number and snapshot.train_loss == epoch.train_loss
        seen.append(scores(snapshot).copy())

    watch = Watch(on_epoch=look)
    watched = algorithm.fit(interactions, config=quick(algorithm), random_state=1, watch=watch)
    alone = algorithm.fit(interactions, config=quick(algorithm), random_state=1)
    assert len(seen) == 4 and all(np.isfinite(part).all() for part in seen)
    assert not np.array_equal(seen[0], seen[-1])
    assert watched.item_factors.tobytes() == alone.item_factors.tobytes()
    assert watched.user_factors.tobytes() == alone.user_factors.tobytes()


@every_algorithm
def test_a_stop_at_the_end_of_a_sweep_equals_fewer_epochs(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=40, n_items=40)
    seen: list[Epoch] = []
    watch = Watch(on_epoch=seen.append, should_stop=lambda: len(seen) >= 3)
    stopped = algorithm.fit(interactions, config=quick(algorithm, epochs=50), random_state=1, watch=watch)
    planned = algorithm.fit(interactions, config=quick(algorithm, epochs=3), random_state=1)
    assert stopped.epochs == planned.epochs == 3
    np.testing.assert_allclose(scores(stopped), scores(planned), atol=1e-4)


@every_algorithm
def test_shapes_and_types_of_the_row_system(algorithm: Algorithm, rng: np.random.Generator) -> None:
    factors, system = fitted_system(algorithm, clustered_interactions(rng, n_users=40, n_items=50))
    assert isinstance(system, RowSystem) == (not factors.layers)
    if not isinstance(system, RowSystem):
        np.testing.assert_array_equal(system.item_factors, factors.item_factors)
        return
    m = 8 + system.has_bias
    assert system.gram.shape == (m, m) and system.gram.dtype == np.float64
    assert system.constant.shape == (m,) and system.constant.dtype == np.float64
    assert system.targets.shape == (50,) and system.targets.dtype == np.float32
    assert system.offsets.dtype == np.float32
    np.testing.assert_allclose(system.offsets, factors.global_mean + factors.item_biases, rtol=1e-6)
    np.testing.assert_array_equal(system.item_factors, factors.item_factors)
    assert system.ratings == takes_ratings(algorithm)
    weights_are_confidences = algorithm.feedback(algorithm.config()).uses_weights and not system.ratings
    assert (system.alpha is not None) == weights_are_confidences


@every_algorithm
@given(history=st.sets(st.integers(0, 29)))
def test_every_history_can_be_folded_in(algorithm: Algorithm, history: set[int]) -> None:
    """Also a history without items, and more unknowns than items."""
    interactions = clustered_interactions(np.random.default_rng(3), n_users=40, n_items=30)
    _, system = fitted_system(algorithm, interactions, embedding_dim=40, epochs=1)
    rows = interactions_from_rows([sorted(history)], n_items=30).by_user()
    user_factors, user_biases = fold_in(system, rows)
    assert np.isfinite(user_factors).all() and np.isfinite(user_biases).all()
    if isinstance(system, RowSystem) and not system.ratings:
        h = system.item_factors[sorted(history)].astype(np.float64)
        x = np.column_stack([h, np.ones(len(h))]) if system.has_bias else h
        penalty = system.penalties(np.array([len(history)]))[0]
        A = system.gram + (system.alpha or 1.0) * x.T @ x + penalty * np.eye(len(system.gram))
        np.testing.assert_allclose(A, A.T, rtol=1e-9, atol=1e-9)
        assert np.linalg.eigvalsh(A)[0] > 0


@every_algorithm
def test_folded_in_users_prefer_unseen_items_of_their_own_cluster(
    algorithm: Algorithm, rng: np.random.Generator
) -> None:
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    factors, system = fitted_system(algorithm, interactions, epochs=40)
    user_factors, user_biases = fold_in(system, interactions.by_user())
    trained, folded = scores(factors), scores(replace(factors, user_factors=user_factors, user_biases=user_biases))
    hits = {"trained": 0, "folded in": 0}
    for user in range(interactions.n_users):
        for name, ranked in (("trained", trained), ("folded in", folded)):
            ranked[user, interactions.items_of(user)] = -np.inf
            hits[name] += int((np.argsort(-ranked[user])[:5] % 4 == user % 4).sum())
    assert hits["folded in"] / (5 * interactions.n_users) > 0.6
    assert hits["folded in"] > 0.95 * hits["trained"]


@every_algorithm
def test_one_item_of_a_cluster_is_enough_to_be_folded_into_it(algorithm: Algorithm, rng: np.random.Generator) -> None:
    """Trap: constants that suit long histories alone rank a short one worse than no history at all."""
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    factors, system = fitted_system(algorithm, interactions, epochs=40)
    liked = interactions.weights.max()
    one_item_each = interactions_from_rows([[item] for item in range(60)], n_items=60, weights=[[liked]] * 60).by_user()
    user_factors, user_biases = fold_in(system, one_item_each)
    ranked = scores(replace(factors, user_factors=user_factors, user_biases=user_biases))
    np.fill_diagonal(ranked, -np.inf)
    best = np.argsort(-ranked, axis=1)[:, :5]
    # By chance a quarter.
    assert np.mean(best % 4 == np.arange(60)[:, None] % 4) > 0.6


@every_algorithm
def test_memory_grows_with_every_size(algorithm: Algorithm) -> None:
    sizes: dict[str, Any] = {"users": 1000, "items": 500, "pairs": 20_000}
    config = algorithm.config()
    base = algorithm.memory(**sizes, config=config)
    assert base > 4 * config.embedding_dim * (sizes["users"] + sizes["items"])
    for name in sizes:
        assert algorithm.memory(**{**sizes, name: 10 * sizes[name]}, config=config) > base
    assert algorithm.memory(**sizes, config=replace(config, embedding_dim=10 * config.embedding_dim)) > base


@every_algorithm
def test_every_hyperparameter_says_what_it_means(algorithm: Algorithm) -> None:
    for declared in options_of(algorithm.config).values():
        assert declared.help.endswith(".")
        assert declared.range_text() or type(declared.default) in (bool, str) or declared.name == "like_above"


def test_weights_change_a_model_that_uses_them_and_no_other(rng: np.random.Generator) -> None:
    weighted = clustered_interactions(rng, n_users=40, n_items=40, weighted=True)
    plain = Interactions(
        user_ids=weighted.user_ids,
        item_ids=weighted.item_ids,
        indptr=weighted.indptr,
        item_indices=weighted.item_indices,
        weights=np.ones_like(weighted.weights),
    )
    for algorithm in ALGORITHMS.values():
        one, other = (algorithm.fit(data, config=quick(algorithm), random_state=1) for data in (weighted, plain))
        assert (
            np.array_equal(one.item_factors, other.item_factors) != algorithm.feedback(algorithm.config()).uses_weights
        )
