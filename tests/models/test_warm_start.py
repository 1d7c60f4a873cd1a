"""What every training that goes on from a fitted model must do, whichever the algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Epoch, Factors, Watch
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.warm_start import generator_seed
from factorbox.recommend.fold_in import fold_in
from model_support import arrays_of, assert_same_model, clusters_for, every_algorithm, quick, scores
from support import interactions_from_rows

WARM = 3


def without(interactions: Interactions, dropped: Any) -> Interactions:
    """Return the same users and items with fewer pairs."""
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    counts = np.bincount(users[~dropped], minlength=interactions.n_users)
    return replace(
        interactions,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item_indices=interactions.item_indices[~dropped],
        weights=interactions.weights[~dropped],
    )


def nearly_all(interactions: Interactions, rng: np.random.Generator) -> Interactions:
    return without(interactions, rng.random(interactions.n_pairs) < 0.1)


def resolved(algorithm: Algorithm, interactions: Interactions, **changes: Any) -> Any:
    return algorithm.resolved(quick(algorithm, **changes), interactions=interactions)


def warm(algorithm: Algorithm, interactions: Interactions, start: Factors, config: Any, **known: Any) -> Factors:
    continuation = algorithm.continuation(config, epochs=WARM)
    return algorithm.fit(interactions, config=continuation, random_state=1, start=start, **known)


@every_algorithm
def test_same_seed_and_start_give_the_same_bytes_whatever_the_threads(
    algorithm: Algorithm, rng: np.random.Generator
) -> None:
    interactions = clusters_for(algorithm, rng, n_users=300, n_items=80)
    config = resolved(algorithm, interactions)
    start = algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1, threads=2)
    before = start.copy()
    one, *others = (warm(algorithm, interactions, start, config, threads=threads) for threads in (1, 2, 3))
    for other in others:
        assert_same_model(one, other)
    # Nor is the start changed by what goes on from it.
    assert_same_model(start, before)
    assert not np.array_equal(one.item_factors, start.item_factors)


@every_algorithm
def test_epochs_are_counted_on(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=60, n_items=40)
    config = resolved(algorithm, interactions)
    start = algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1)
    seen: list[int] = []
    watch = Watch(on_epoch=lambda epoch: seen.append(epoch.number))
    assert warm(algorithm, interactions, start, config, watch=watch).epochs == 4 + WARM
    assert seen == [5, 6, 7]


@every_algorithm
def test_on_its_own_data_a_model_does_not_get_worse(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    config = resolved(algorithm, interactions, epochs=30)
    losses: list[float] = []
    watch = Watch(on_epoch=lambda epoch: losses.append(epoch.train_loss))
    start = algorithm.fit(interactions, config=config, random_state=1, watch=watch)
    goes_on = warm(algorithm, interactions, start, config)
    # Negatives and dropout are drawn anew each epoch, so that losses waver.
    assert goes_on.train_loss < losses[-1] + 0.05 * (losses[0] - losses[-1])


@every_algorithm
def test_the_first_warm_epoch_has_less_loss_than_the_first_cold_one(
    algorithm: Algorithm, rng: np.random.Generator
) -> None:
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    config = resolved(algorithm, interactions, epochs=10)
    start = algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1)
    seen: list[float] = []
    watch = Watch(on_epoch=lambda epoch: seen.append(epoch.train_loss))
    config = replace(config, epochs=1)
    algorithm.fit(interactions, config=config, random_state=1, watch=watch)
    algorithm.fit(interactions, config=config, random_state=1, start=start, watch=watch)
    cold, warmed = seen
    assert warmed < cold


@every_algorithm
def test_users_and_items_that_had_no_pairs_are_learned(algorithm: Algorithm, rng: np.random.Generator) -> None:
    """As after a cut in time; here a whole cluster, so that neither side knows anything of the other."""
    interactions = clusters_for(algorithm, rng, n_users=200, n_items=60)
    users = np.repeat(np.arange(200), np.diff(interactions.indptr))
    known = without(interactions, (users % 4 == 3) | (interactions.item_indices % 4 == 3))
    config = resolved(algorithm, interactions, epochs=40)
    start = algorithm.fit(known, config=config, random_state=1)
    hits = {}
    for name, factors in (
        ("warm", algorithm.fit(interactions, config=config, random_state=1, start=start)),
        ("cold", algorithm.fit(interactions, config=config, random_state=1)),
    ):
        ranked = scores(factors)
        best = []
        for user in range(3, 200, 4):
            ranked[user, interactions.items_of(user)] = -np.inf
            best.append(np.argsort(-ranked[user])[:5] % 4 == 3)
        hits[name] = np.mean(best)
    assert hits["warm"] > 0.6 and hits["warm"] > hits["cold"] - 0.25


@pytest.mark.parametrize("name", ["als", "explicit", "nmf"])
def test_folding_in_gives_the_users_of_a_warm_finish(name: str, rng: np.random.Generator) -> None:
    algorithm = ALGORITHMS[name]
    interactions = clusters_for(algorithm, rng, n_users=100, n_items=60)
    config = resolved(algorithm, interactions, epochs=10)
    start = algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1)
    factors = warm(algorithm, interactions, start, config)
    user_factors, user_biases = fold_in(algorithm.row_system(config, factors.item_side), interactions.by_user())
    np.testing.assert_allclose(user_factors, factors.user_factors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(user_biases, factors.user_biases, rtol=1e-4, atol=1e-4)


@every_algorithm
def test_what_finishes_the_last_snapshot_is_what_a_training_returns(
    algorithm: Algorithm, rng: np.random.Generator
) -> None:
    interactions = clusters_for(algorithm, rng, n_users=100, n_items=40)
    config = resolved(algorithm, interactions)
    snapshots: list[Factors] = []
    watch = Watch(on_epoch=lambda epoch: snapshots.append(epoch.snapshot().copy()))
    returned = algorithm.fit(interactions, config=config, random_state=1, watch=watch)
    before = snapshots[-1].copy()
    assert_same_model(algorithm.finished(snapshots[-1], interactions=interactions, config=config, threads=2), returned)
    assert_same_model(snapshots[-1], before)


@every_algorithm
def test_a_training_goes_on_from_a_snapshot_of_an_earlier_epoch(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=100, n_items=40)
    config = resolved(algorithm, interactions)
    snapshots: list[Factors] = []
    watch = Watch(on_epoch=lambda epoch: snapshots.append(epoch.snapshot().copy()))
    algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1, watch=watch)
    factors = warm(algorithm, interactions, snapshots[1], config)
    assert factors.epochs == 2 + WARM and np.isfinite(scores(factors)).all()


@every_algorithm
def test_a_stop_at_once_leaves_a_whole_model(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=60, n_items=40)
    config = resolved(algorithm, interactions)
    start = algorithm.fit(nearly_all(interactions, rng), config=config, random_state=1)
    seen: list[Epoch] = []
    watch = Watch(on_epoch=seen.append, should_stop=lambda: True)
    factors = warm(algorithm, interactions, start, config, watch=watch)
    assert not seen and factors.epochs == 4 and factors.train_loss == start.train_loss
    assert np.isfinite(scores(factors)).all() and all(np.isfinite(value) for value in factors.metrics.values())
    assert set(factors.fold_in) == set(start.fold_in)


@every_algorithm
@pytest.mark.parametrize("change", ["users", "items", "embedding_dim"])
def test_a_start_of_other_shapes_is_refused(algorithm: Algorithm, change: str, rng: np.random.Generator) -> None:
    interactions = clusters_for(algorithm, rng, n_users=40, n_items=40)
    config = quick(algorithm, epochs=1)
    start = algorithm.fit(interactions, config=config, random_state=1)
    if change == "embedding_dim":
        config = replace(config, embedding_dim=9)
    else:
        sizes = {"n_users": 40, "n_items": 40} | {f"n_{change}": 44}
        interactions = clusters_for(algorithm, rng, **sizes)
    with pytest.raises(AlgorithmError, match=r"has the shape \(4\d,.*start from a model of the same users, items and"):
        algorithm.fit(interactions, config=config, random_state=1, start=start)


@every_algorithm
def test_a_start_without_its_state_is_refused_where_it_is_needed(
    algorithm: Algorithm, rng: np.random.Generator
) -> None:
    interactions = clusters_for(algorithm, rng, n_users=40, n_items=40)
    config = quick(algorithm, epochs=1)
    start = replace(algorithm.fit(interactions, config=config, random_state=1), state={})
    if algorithm.name == "als":
        assert algorithm.fit(interactions, config=config, random_state=1, start=start).epochs == 2
        return
    with pytest.raises(AlgorithmError, match=f"{algorithm.name} cannot go on from a model without .* in its state"):
        algorithm.fit(interactions, config=config, random_state=1, start=start)


@every_algorithm
def test_a_copy_shares_no_memory(algorithm: Algorithm) -> None:
    interactions = interactions_from_rows([[0, 1], [1, 2]], n_items=4)
    factors = algorithm.fit(interactions, config=quick(algorithm), random_state=1)
    copy = factors.copy()
    assert_same_model(copy, factors)
    for name, values in arrays_of(copy).items():
        assert not np.shares_memory(values, arrays_of(factors)[name])


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"nmf", "mlp"}))
def test_a_snapshot_copies_no_factors(name: str) -> None:
    """Each epoch may be measured; nmf and mlp hand out other arrays than they train."""
    interactions = interactions_from_rows([[0, 1], [1, 2]], n_items=4)
    shared: list[bool] = []

    def look(epoch: Epoch) -> None:
        shared.append(np.shares_memory(epoch.snapshot().item_factors, epoch.snapshot().item_factors))

    ALGORITHMS[name].fit(interactions, config=quick(ALGORITHMS[name]), random_state=1, watch=Watch(on_epoch=look))
    assert shared == [True] * 4


@every_algorithm
def test_the_memory_estimate_has_room_for_a_model_and_the_one_it_starts_from(algorithm: Algorithm) -> None:
    interactions = clusters_for(algorithm, np.random.default_rng(0), n_users=3000, n_items=60)
    config = resolved(algorithm, interactions, epochs=1, embedding_dim=64)
    factors = algorithm.fit(interactions, config=config, random_state=1)
    held = 2 * sum(values.nbytes for values in arrays_of(factors).values())
    assert algorithm.memory(users=3000, items=60, pairs=interactions.n_pairs, config=config) > held


@every_algorithm
def test_a_continuation_differs_by_its_epochs_alone(algorithm: Algorithm) -> None:
    config = quick(algorithm)
    assert algorithm.continuation(config, epochs=7) == replace(config, epochs=7)


def test_a_continuation_takes_the_last_rate_of_a_schedule() -> None:
    config = ExplicitConfig(learning_rate="0.05x20,0.01x10")
    continuation = ALGORITHMS["explicit"].continuation(config, epochs=3)
    assert continuation == ExplicitConfig(learning_rate="0.01", epochs=3)


def test_draws_are_not_those_that_led_to_the_start(rng: np.random.Generator) -> None:
    algorithm = ALGORITHMS["bpr"]
    start = algorithm.fit(
        interactions_from_rows([[0], [1]], n_items=3), config=quick(algorithm, epochs=1), random_state=5
    )
    seeds = [generator_seed(5, start=start), generator_seed(5, start=replace(start, epochs=2))]
    assert generator_seed(5, start=None) == 5
    assert len({5, *seeds}) == 3 and all(0 <= seed < 1 << 64 for seed in seeds)
