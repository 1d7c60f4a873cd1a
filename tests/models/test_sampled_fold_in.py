"""Fold-in for the sampled losses: the ridge regression against dense least squares, and its constants."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from factorbox.models.base import Algorithm, Factors
from factorbox.models.row_system import RowSystem
from factorbox.models.sampled import ADAPTIVE_HINGE, BPR, HINGE, POINTWISE
from factorbox.models.sampled_fold_in import FoldInConstants, FoldInScales, fold_in_constants, row_system
from factorbox.recommend.fold_in import fold_in
from support import clustered_interactions, interactions_from_rows

all_losses = pytest.mark.parametrize(
    "algorithm", [BPR, HINGE, ADAPTIVE_HINGE, POINTWISE], ids=lambda algorithm: str(algorithm.name)
)
SCALES = FoldInScales(margin=3.0, unobserved_share=0.5, penalty=0.2)


def quick(algorithm: Algorithm, **changes: Any) -> Any:
    return replace(algorithm.config(), **{"embedding_dim": 8, "epochs": 4, **changes})


def made_up_items(rng: np.random.Generator, *, n_items: int = 30, d: int = 5) -> dict[str, Any]:
    return {
        "item_factors": rng.standard_normal((n_items, d), dtype=np.float32),
        "item_biases": rng.standard_normal(n_items, dtype=np.float32),
    }


def made_up_factors(user_factors: Any, item_factors: Any, item_biases: Any) -> Factors:
    return Factors(
        user_factors=np.array(user_factors, dtype=np.float32),
        item_factors=np.array(item_factors, dtype=np.float32),
        user_biases=np.zeros(len(user_factors), dtype=np.float32),
        item_biases=np.array(item_biases, dtype=np.float32),
        epochs=1,
        train_loss=0.0,
    )


def stacked_least_squares(items: dict[str, Any], history: list[int], c: FoldInConstants) -> Any:
    """Minimise the objective of the module by its rows: one for each square, without any normal equations."""
    biases = items["item_biases"].astype(np.float64)
    x = np.column_stack([items["item_factors"].astype(np.float64), np.ones(len(biases))])
    m = x.shape[1]
    root = math.sqrt(c.unobserved_weight)
    penalty = math.sqrt(c.regularization * (len(history) + c.frequency_offset))
    rows = np.concatenate([x[history], root * x, penalty * np.eye(m)])
    values = np.concatenate([c.seen_target - biases[history], root * (c.unobserved_target - biases), np.zeros(m)])
    return np.linalg.lstsq(rows, values, rcond=None)[0]


@pytest.mark.parametrize("history", [[0], [3, 4, 7], list(range(30))], ids=len)
@pytest.mark.parametrize(
    "c",
    [
        FoldInConstants(),
        FoldInConstants(
            seen_target=1.5,
            unobserved_target=-0.5,
            unobserved_weight=0.4,
            regularization=0.03,
            frequency_offset=1.0,
        ),
    ],
    ids=["defaults", "others"],
)
def test_a_folded_in_user_minimises_the_stated_objective(
    rng: np.random.Generator, history: list[int], c: FoldInConstants
) -> None:
    items = made_up_items(rng)
    system = row_system(**items, constants=asdict(c))
    factors, biases = fold_in(system, interactions_from_rows([history], n_items=30).by_user())
    expected = stacked_least_squares(items, history, c)
    np.testing.assert_allclose(np.append(factors[0], biases[0]), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_a_history_are_ignored(rng: np.random.Generator) -> None:
    system = row_system(**made_up_items(rng), constants={})
    plain, weighted = (
        fold_in(system, interactions_from_rows([[1, 2]], n_items=30, weights=[weights]).by_user())
        for weights in ([1.0, 1.0], [0.5, 9.0])
    )
    np.testing.assert_array_equal(plain[0], weighted[0])


def test_a_model_without_constants_takes_the_defaults(rng: np.random.Generator) -> None:
    items = made_up_items(rng)
    saved_before, stated = (row_system(**items, constants=c) for c in ({}, asdict(FoldInConstants())))
    np.testing.assert_array_equal(saved_before.gram, stated.gram)
    np.testing.assert_array_equal(saved_before.constant, stated.constant)
    np.testing.assert_array_equal(saved_before.targets, stated.targets)
    assert saved_before.regularization == stated.regularization == FoldInConstants().regularization


def test_sums_over_more_items_than_one_block_are_whole(rng: np.random.Generator) -> None:
    items = made_up_items(rng, n_items=20_000, d=3)
    system = row_system(**items, constants={"unobserved_weight": 1.0, "unobserved_target": -1.0})
    x = np.column_stack([items["item_factors"].astype(np.float64), np.ones(20_000)])
    np.testing.assert_allclose(system.gram, x.T @ x, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(system.constant, x.T @ (-1.0 - items["item_biases"].astype(np.float64)), rtol=1e-9)


def test_factors_that_may_only_be_read_make_no_warning(rng: np.random.Generator) -> None:
    items = made_up_items(rng)
    for array in items.values():
        array.setflags(write=False)
    assert row_system(**items, constants={}).gram.shape == (6, 6)


def test_the_system_has_the_same_bytes_for_any_number_of_threads(rng: np.random.Generator) -> None:
    items = made_up_items(rng, n_items=20_000, d=64)
    before = torch.get_num_threads()
    systems: list[RowSystem] = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            systems.append(row_system(**items, constants={}))
    finally:
        torch.set_num_threads(before)
    assert systems[0].gram.tobytes() == systems[1].gram.tobytes()
    assert systems[0].constant.tobytes() == systems[1].constant.tobytes()


@all_losses
def test_fit_gives_the_constants_that_row_system_takes(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=60, n_items=40)
    config = quick(algorithm, epochs=30)
    factors = algorithm.fit(interactions, config=config, random_state=1)
    assert factors.fold_in.keys() == asdict(FoldInConstants()).keys()
    assert all(type(value) is float and math.isfinite(value) for value in factors.fold_in.values())
    system = algorithm.row_system(config, factors.item_side)
    assert isinstance(system, RowSystem)
    assert system.regularization == factors.fold_in["regularization"] > 0
    np.testing.assert_allclose(system.targets, factors.fold_in["seen_target"] - factors.item_biases, rtol=1e-6)


@all_losses
def test_constants_do_not_depend_on_the_number_of_threads(algorithm: Algorithm, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=300, n_items=80)
    one, two = (
        algorithm.fit(interactions, config=quick(algorithm), random_state=7, threads=threads).fold_in
        for threads in (1, 2)
    )
    assert one == two


def test_targets_keep_a_multiple_of_the_distance_of_the_trained_scores() -> None:
    factors = made_up_factors([[2.0], [1.0]], [[3.0], [-1.0], [0.0], [0.0]], [0.5, 0.5, -0.5, -0.5])
    interactions = interactions_from_rows([[0], [0, 1]], n_items=4)
    constants = fold_in_constants(factors, interactions=interactions, scales=SCALES)
    seen = (6.5 + 3.5 - 0.5) / 3  # scores of the three pairs
    everywhere = 1.5 * 0.5  # mean user · mean item; the biases add up to 0
    assert constants == pytest.approx(
        {
            "seen_target": 3.0 * (seen - everywhere) / 2,
            "unobserved_target": -3.0 * (seen - everywhere) / 2,
            "unobserved_weight": 0.5 * 1.5 / 4,  # half of the 1.5 items that a history has, over the 4 items
            "regularization": 0.2 * (9 + 9 + 1) / 3,
            "frequency_offset": 1.5 / 4,
        }
    )


def test_a_model_that_prefers_nothing_still_gives_a_sound_system() -> None:
    factors = made_up_factors(np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(4))
    interactions = interactions_from_rows([[0], [0, 1]], n_items=4)
    constants = fold_in_constants(factors, interactions=interactions, scales=SCALES)
    assert constants["seen_target"] > 0 > constants["unobserved_target"]
    system = row_system(item_factors=factors.item_factors, item_biases=factors.item_biases, constants=constants)
    folded, biases = fold_in(system, interactions.by_user())
    assert np.isfinite(folded).all() and np.isfinite(biases).all()


def test_of_many_pairs_evenly_spaced_ones_stand_for_all(rng: np.random.Generator) -> None:
    d = 4096  # 256 pairs hold all the numbers that are looked at
    interactions = clustered_interactions(rng, n_users=400, n_items=40)
    assert interactions.n_pairs > 1024
    items = np.zeros((40, d))
    items[:, 0] = 2.0
    factors = made_up_factors(np.ones((400, d)), items, np.zeros(40))
    constants = fold_in_constants(factors, interactions=interactions, scales=SCALES)
    assert constants["regularization"] == pytest.approx(0.2 * 4)
