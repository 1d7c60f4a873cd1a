"""Non-negative factorization: what it minimises, when it ends, and what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import movielens
from benchmarks import nmf as benchmark
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import Device, Epoch, Factors, Watch
from factorbox.models.nmf import NMF, NMFConfig
from support import CONTAINER, clustered_interactions, interactions_from_rows

either = pytest.mark.parametrize("observed_only", [False, True])


def config_of(**changes: Any) -> NMFConfig:
    return NMFConfig(**{"embedding_dim": 5, "epochs": 10, "tol": 0.0, "regularization": 0.1, **changes})


def fit(
    interactions: Interactions, *, seed: int = 1, threads: int = 1, device: Device = "cpu", **changes: Any
) -> tuple[Factors, list[Epoch], list[Factors]]:
    epochs: list[Epoch] = []
    snapshots: list[Factors] = []

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        snapshots.append(epoch.snapshot())

    factors = NMF().fit(
        interactions,
        config=config_of(**changes),
        random_state=seed,
        threads=threads,
        device=device,
        watch=Watch(on_epoch=on_epoch),
    )
    return factors, epochs, snapshots


def cells(interactions: Interactions) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the dense matrix, and which of its cells have an entry."""
    X = np.zeros((interactions.n_users, interactions.n_items))
    at = np.repeat(np.arange(len(X)), np.diff(interactions.indptr)), interactions.item_indices
    X[at] = interactions.weights
    observed = np.zeros(X.shape, dtype=np.bool_)
    observed[at] = True
    return X, observed


def squared_error(factors: Factors, interactions: Interactions, *, observed_only: bool) -> float:
    X, observed = cells(interactions)
    residuals = X - factors.user_factors.astype(np.float64) @ factors.item_factors.astype(np.float64).T
    return float(np.square(residuals[observed] if observed_only else residuals).sum())


def objective(factors: Factors, interactions: Interactions, *, observed_only: bool, λ: float) -> float:
    lengths = np.square(factors.user_factors).sum() + np.square(factors.item_factors).sum()
    return (squared_error(factors, interactions, observed_only=observed_only) + λ * float(lengths)) / 2


def weighted(rng: np.random.Generator) -> Interactions:
    return clustered_interactions(rng, n_users=60, n_items=40, weighted=True)


@either
@pytest.mark.parametrize("init", ["nndsvd", "random"])
@pytest.mark.parametrize("λ", [0.0, 1.0])
def test_the_objective_falls_with_every_epoch(
    observed_only: bool, init: str, λ: float, rng: np.random.Generator
) -> None:
    interactions = weighted(rng)
    factors, _, snapshots = fit(interactions, epochs=25, init=init, regularization=λ, observed_only=observed_only)
    values = [objective(model, interactions, observed_only=observed_only, λ=λ) for model in (*snapshots, factors)]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(values))
    assert values[-1] < 0.9 * values[0]


@either
def test_what_is_logged_is_true(observed_only: bool, rng: np.random.Generator) -> None:
    interactions = weighted(rng)
    factors, epochs, snapshots = fit(interactions, observed_only=observed_only)
    n_cells = interactions.n_pairs if observed_only else interactions.n_users * interactions.n_items
    for epoch, snapshot in zip(epochs, snapshots, strict=True):
        error = squared_error(snapshot, interactions, observed_only=observed_only)
        assert epoch.details["reconstruction_error"] == pytest.approx(np.sqrt(error), rel=1e-5)
        assert epoch.train_loss == pytest.approx(error / n_cells, rel=1e-5)
    error = squared_error(factors, interactions, observed_only=observed_only)
    assert factors.metrics["reconstruction_error"] == pytest.approx(np.sqrt(error), rel=1e-5)
    assert factors.metrics["violation"] == epochs[-1].details["violation"]
    assert factors.train_loss == epochs[-1].train_loss


def gradients(
    factors: Factors, interactions: Interactions, *, observed_only: bool, λ: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    X, observed = cells(interactions)
    W, H = factors.user_factors.astype(np.float64), factors.item_factors.astype(np.float64)
    residuals = W @ H.T - X
    if observed_only:
        residuals[~observed] = 0.0
    return residuals @ H + λ * W, residuals.T @ W + λ * H


def assert_stationary(factors: NDArray[np.float32], gradient: NDArray[np.float64], *, within: float) -> None:
    assert gradient.min() >= -within
    assert np.abs(gradient[factors > 0]).max() <= within


@either
def test_a_converged_model_meets_the_conditions_of_a_minimum(observed_only: bool, rng: np.random.Generator) -> None:
    interactions = weighted(rng)
    factors, _, _ = fit(interactions, epochs=5000, tol=1e-7, regularization=0.5, observed_only=observed_only)
    assert factors.converged
    of_users, of_items = gradients(factors, interactions, observed_only=observed_only, λ=0.5)
    assert_stationary(factors.user_factors, of_users, within=1e-3)
    assert_stationary(factors.item_factors, of_items, within=1e-3)


@either
def test_the_users_solve_their_own_problems_however_early_training_ends(
    observed_only: bool, rng: np.random.Generator
) -> None:
    interactions = weighted(rng)
    factors, _, _ = fit(interactions, epochs=1, observed_only=observed_only)
    of_users, _ = gradients(factors, interactions, observed_only=observed_only, λ=0.1)
    assert_stationary(factors.user_factors, of_users, within=1e-3)


@either
@pytest.mark.parametrize("init", ["nndsvd", "random"])
def test_the_kernels_take_the_steps_of_the_reference(observed_only: bool, init: str, rng: np.random.Generator) -> None:
    interactions = weighted(rng)
    fitted = [fit(interactions, device=device, observed_only=observed_only, init=init) for device in ("cpu", "none")]
    (kernel, kernel_epochs, _), (torch, torch_epochs, _) = fitted
    np.testing.assert_allclose(kernel.item_factors, torch.item_factors, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kernel.user_factors, torch.user_factors, rtol=1e-4, atol=1e-5)
    for one, other in zip(kernel_epochs, torch_epochs, strict=True):
        assert one.details == pytest.approx(other.details, rel=1e-9)
    assert kernel.metrics == pytest.approx(torch.metrics, rel=1e-6)


def test_a_product_of_non_negative_factors_is_found_again(rng: np.random.Generator) -> None:
    W, H = (rng.random((size, 3)) * (rng.random((size, 3)) < 0.4) for size in (50, 40))
    X = (W @ H.T).astype(np.float32)
    rows = [np.flatnonzero(row).tolist() for row in X]
    interactions = interactions_from_rows(rows, n_items=40, weights=[row[row > 0].tolist() for row in X])
    factors, _, _ = fit(interactions, embedding_dim=3, epochs=2000, tol=1e-8, regularization=0.0)
    np.testing.assert_allclose(factors.user_factors @ factors.item_factors.T, X, atol=5e-3)


@either
@pytest.mark.parametrize("init", ["nndsvd", "random"])
def test_threads_do_not_change_a_byte(observed_only: bool, init: str, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=2500, n_items=300, weighted=True)
    fitted = [
        fit(interactions, threads=threads, init=init, epochs=3, observed_only=observed_only)[0] for threads in (1, 2, 3)
    ]
    for other in fitted[1:]:
        assert other.user_factors.tobytes() == fitted[0].user_factors.tobytes()
        assert other.item_factors.tobytes() == fitted[0].item_factors.tobytes()
        assert other.metrics == fitted[0].metrics


def test_training_ends_with_the_first_epoch_whose_violation_is_small(rng: np.random.Generator) -> None:
    factors, epochs, _ = fit(weighted(rng), epochs=500, tol=0.01)
    violations = [epoch.details["violation"] for epoch in epochs]
    assert factors.converged and factors.epochs == len(epochs) < 500
    assert violations[-1] <= 0.01 * violations[0] < violations[-2]


def test_a_training_that_runs_out_of_epochs_says_so(rng: np.random.Generator) -> None:
    factors, epochs, _ = fit(weighted(rng), epochs=3, tol=0.01)
    assert factors.converged is False and factors.epochs == len(epochs) == 3


@either
def test_rows_and_columns_of_zeros_get_zeros_and_harm_nothing(observed_only: bool) -> None:
    """Trap: a component that nothing uses has no curvature to divide by."""
    interactions = interactions_from_rows(
        [[0, 1], [2], [], [0, 3]], n_items=5, weights=[[5.0, 3.0], [0.0], [], [4.0, 0.0]]
    )
    factors, _, _ = fit(interactions, embedding_dim=4, regularization=0.0, observed_only=observed_only)
    for array in (factors.user_factors, factors.item_factors):
        assert np.isfinite(array).all() and (array >= 0).all()
    scores = factors.user_factors @ factors.item_factors.T
    np.testing.assert_array_equal(factors.user_factors[1:3], np.zeros((2, 4)))
    assert scores[0, 0] == pytest.approx(5.0, abs=0.5)
    if not observed_only:
        np.testing.assert_array_equal(factors.item_factors[[2, 3, 4]], np.zeros((3, 4)))


@either
@pytest.mark.parametrize("init", ["nndsvd", "random"])
def test_zeros_alone_are_fitted_at_once(observed_only: bool, init: str) -> None:
    interactions = interactions_from_rows([[0], [1]], n_items=2, weights=[[0.0], [0.0]])
    factors, _, _ = fit(interactions, observed_only=observed_only, init=init)
    assert factors.converged and factors.train_loss == 0.0 and factors.metrics["reconstruction_error"] == 0.0
    assert not factors.user_factors.any()


def test_negative_ratings_are_refused_with_a_remedy() -> None:
    interactions = interactions_from_rows([[0], [1]], n_items=2, weights=[[-1.5], [2.0]])
    with pytest.raises(UserError, match=r"cannot fit the rating -1\.5.*min_rating=0.*algorithm=explicit"):
        fit(interactions)


def test_a_loss_that_is_not_finite_is_refused_with_a_remedy() -> None:
    interactions = interactions_from_rows([[0], [0]], n_items=1, weights=[[5.0], [1.0]])
    with pytest.raises(AlgorithmError, match=r"lower regularization \(now 1e\+308\)"):
        fit(interactions, regularization=1e308)


@either
def test_the_largest_ratings_that_data_may_have_are_fitted(observed_only: bool) -> None:
    interactions = interactions_from_rows([[0], [0]], n_items=1, weights=[[3e38], [1.0]])
    factors, _, _ = fit(interactions, observed_only=observed_only)
    scores = factors.user_factors.astype(np.float64) @ factors.item_factors.T
    assert scores[0, 0] == pytest.approx(3e38, rel=1e-5)


@either
@pytest.mark.parametrize("factor", [0.2, 100.0])
def test_the_default_penalty_grows_with_the_ratings_so_that_their_unit_does_not_matter(
    observed_only: bool, factor: float, rng: np.random.Generator
) -> None:
    interactions = weighted(rng)
    scaled = replace(interactions, weights=np.float32(factor) * interactions.weights)
    one, other = (fit(data, regularization=None, observed_only=observed_only)[0] for data in (interactions, scaled))
    np.testing.assert_allclose(
        other.user_factors @ other.item_factors.T,
        factor * (one.user_factors @ one.item_factors.T),
        rtol=1e-2,
        atol=1e-3 * factor,
    )


def test_the_default_penalty_is_resolved_and_what_is_given_stays(rng: np.random.Generator) -> None:
    interactions = weighted(rng)
    resolved = NMF().resolved(NMFConfig(), interactions=interactions).regularization
    assert resolved is not None and resolved > 0
    assert NMF().resolved(NMFConfig(regularization=0.0), interactions=interactions).regularization == 0.0
    factors, _, _ = fit(interactions, regularization=None)
    given, _, _ = fit(interactions, regularization=resolved)
    np.testing.assert_array_equal(factors.item_factors, given.item_factors)


def test_the_default_penalty_leaves_the_smallest_data_something() -> None:
    factors, _, _ = fit(interactions_from_rows([[0]], n_items=1, weights=[[4.0]]), regularization=None)
    assert float(factors.user_factors[0] @ factors.item_factors[0]) == pytest.approx(3.0, rel=0.05)


def test_an_unresolved_configuration_folds_nobody_in(rng: np.random.Generator) -> None:
    factors, _, _ = fit(weighted(rng))
    with pytest.raises(AlgorithmError, match="has no regularization"):
        NMF().row_system(NMFConfig(), factors.item_side)


def test_zeros_of_unrated_cells_pull_scores_down_unless_they_do_not_count(rng: np.random.Generator) -> None:
    interactions = weighted(rng)
    _, observed = cells(interactions)
    means = {}
    for observed_only in (False, True):
        factors, _, _ = fit(interactions, epochs=50, observed_only=observed_only)
        means[observed_only] = float((factors.user_factors @ factors.item_factors.T)[~observed].mean())
    assert means[False] < 0.5 < 1.5 < means[True]


_MEASURE = """
import json
import numpy as np
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models.nmf import NMF, NMFConfig

def interactions(users, items, entries):
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(users * items, size=entries, replace=False))
    return Interactions(
        user_ids=Ids.from_texts([str(u) for u in range(users)]),
        item_ids=Ids.from_texts([str(i) for i in range(items)]),
        indptr=np.searchsorted(cells, np.arange(users + 1) * items).astype(np.int64),
        item_indices=(cells % items).astype(np.int32),
        weights=rng.integers(1, 6, size=entries).astype(np.float32),
    )

config = NMFConfig(embedding_dim=4, epochs=2)
NMF().fit(interactions(20, 30, 100), config=config, random_state=0)
wide = interactions(611, 193_610, 98_771)
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # the peak counts from here

def memory(name):
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith(name))

before = memory("VmRSS")
NMF().fit(wide, config=config, random_state=0)
used = memory("VmHWM") - before
estimate = NMF().memory(users=611, items=193_610, pairs=98_771, config=config)
print(json.dumps({"used": used, "estimate": estimate}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_wide_sparse_matrix_never_becomes_dense() -> None:
    """As float32 it would take 473 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        env={**os.environ, "PYTHONPATH": str(CONTAINER)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    measured = json.loads(done.stdout)
    # What the interpreter holds beside the arrays varies by some megabytes.
    assert measured["used"] < measured["estimate"] + 20e6
    assert measured["used"] < 120e6


@pytest.mark.skipif(not os.environ.get("FACTORBOX_DATA"), reason="FACTORBOX_DATA names no folder with MovieLens")
def test_movielens_is_fitted_at_least_as_well_as_by_scikit_learn_and_a_new_user_is_understood() -> None:
    """scikit-learn 1.9.1 reaches 762.98 there; it recommends the new user three of the relevant films."""
    interactions = benchmark.read(movielens.data_folder() / "ml-latest-small" / "ratings.csv")
    assert interactions.n_pairs == 98_771
    factors = benchmark.fitted(interactions, seed=0, threads=2)
    assert factors.converged
    assert factors.metrics["reconstruction_error"] <= 762.98
    assert len(benchmark.RELEVANT.intersection(benchmark.new_user_ranking(factors, interactions))) >= 3
