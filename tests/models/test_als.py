"""ALS against the equations: a dense solve, the torch reference, and the peer library's rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.als import ALS, ALSConfig, row_penalties
from factorbox.models.als_sweeps import KernelSweeps, Side
from factorbox.models.als_torch import TorchSweeps
from factorbox.models.base import Epoch, Factors, ItemSide, Watch
from factorbox.models.row_system import RowSystem
from support import clustered_interactions, interactions_from_rows


def dense_rows(interactions: Interactions, factors: Factors, config: ALSConfig) -> NDArray[np.float64]:
    """Solve every user's normal equations as the paper writes them."""
    config = ALS().resolved(config, interactions=interactions)
    assert config.alpha is not None and config.unobserved_weight is not None
    H = factors.item_factors.astype(np.float64)
    counts = np.diff(interactions.indptr)
    penalties = row_penalties(counts, other_side=len(H), config=config)
    rows = []
    for u, ρ in enumerate(penalties):
        part = slice(interactions.indptr[u], interactions.indptr[u + 1])
        S = H[interactions.item_indices[part]]
        c = config.alpha * interactions.weights[part].astype(np.float64)
        A = config.unobserved_weight * H.T @ H + (S.T * c) @ S + ρ * np.eye(H.shape[1])
        rows.append(np.linalg.solve(A, S.T @ c))
    return np.array(rows)


def assert_rows_close(found: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    """Each row within 1e-4 of its length: what a relative residual of 1e-6 leaves of a well-conditioned system."""
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < 1e-4


@pytest.mark.parametrize("embedding_dim", [1, 7, 16, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_user_factors_solve_the_normal_equations(rng: np.random.Generator, embedding_dim: int, weighted: bool) -> None:
    interactions = clustered_interactions(rng, weighted=weighted)
    config = ALSConfig(embedding_dim=embedding_dim, epochs=3, alpha=2.0)
    factors = ALS().fit(interactions, config=config, random_state=1)
    assert_rows_close(factors.user_factors, dense_rows(interactions, factors, config))


@given(
    seed=st.integers(0, 2**32 - 1),
    unobserved_weight=st.floats(0.01, 1),
    regularization=st.floats(1e-3, 1),
    exponent=st.floats(0, 1.5),
    alpha=st.floats(0.1, 40),
)
@settings(max_examples=25)
def test_user_factors_solve_the_normal_equations_for_any_hyperparameters(
    seed: int, unobserved_weight: float, regularization: float, exponent: float, alpha: float
) -> None:
    interactions = clustered_interactions(np.random.default_rng(seed), n_users=30, n_items=40, weighted=True)
    config = ALSConfig(
        embedding_dim=6,
        epochs=2,
        unobserved_weight=unobserved_weight,
        regularization=regularization,
        regularization_exponent=exponent,
        alpha=alpha,
    )
    factors = ALS().fit(interactions, config=config, random_state=seed % 1000)
    assert_rows_close(factors.user_factors, dense_rows(interactions, factors, config))


def test_users_and_items_without_interactions_get_zero_factors() -> None:
    interactions = interactions_from_rows([[0, 1], [], [1]], n_items=4)
    factors = ALS().fit(interactions, config=ALSConfig(embedding_dim=3, epochs=2), random_state=1)
    assert not factors.user_factors[1].any()
    assert not factors.item_factors[2:].any()
    assert factors.user_factors[0].any()


def test_a_half_sweep_of_the_kernel_equals_one_of_the_torch_reference(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    item_factors = rng.standard_normal((interactions.n_items, 8)).astype(np.float32)
    rows, columns = interactions.by_user(), interactions.by_item()
    found: list[tuple[float, NDArray[np.float32]]] = []
    for kind in (
        KernelSweeps(unobserved_weight=0.2, alpha=1.5, threads=2),
        TorchSweeps(unobserved_weight=0.2, alpha=1.5, threads=1, device="cpu"),
    ):
        users = Side(rows, np.full(interactions.n_users, 0.3), np.zeros((interactions.n_users, 8), np.float32))
        items = Side(columns, np.full(interactions.n_items, 0.3), item_factors.copy())
        with kind as sweeps:
            loss = sweeps.update(users, fixed=items, exact=True, should_stop=lambda: False)
        # The kernel's basis is a rotated one; scores do not depend on it.
        found.append((loss, users.factors @ items.factors.T))
    (kernel_loss, kernel_scores), (torch_loss, torch_scores) = found
    assert kernel_loss == pytest.approx(torch_loss, rel=1e-5)
    np.testing.assert_allclose(kernel_scores, torch_scores, atol=2e-5)

    scores = torch_scores.astype(np.float64)
    owners = np.repeat(np.arange(interactions.n_users), rows.counts)
    objective = (1.5 * interactions.weights * (1 - scores[owners, interactions.item_indices]) ** 2).sum()
    assert torch_loss == pytest.approx(objective + 0.2 * (scores**2).sum(), rel=1e-5)


def test_rows_that_float32_cannot_solve_are_solved_in_float64(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    item_factors = rng.standard_normal((interactions.n_items, 6)).astype(np.float32)

    def solved() -> tuple[float, NDArray[np.float32]]:
        users = Side(
            interactions.by_user(),
            np.full(interactions.n_users, 0.3),
            np.zeros((interactions.n_users, 6), np.float32),
        )
        items = Side(interactions.by_item(), np.full(interactions.n_items, 0.3), item_factors.copy())
        with KernelSweeps(unobserved_weight=0.2, alpha=1.5, threads=2) as sweeps:
            return sweeps.update(users, fixed=items, exact=True, should_stop=lambda: False), users.factors

    def fail(start: int, stop: int, *arguments: object) -> None:
        failed = arguments[-1]
        assert isinstance(failed, np.ndarray)
        failed[start:stop] = True

    loss, factors = solved()
    monkeypatch.setattr("factorbox.models.als_sweeps.solve_rows_exactly", fail)
    loss_in_float64, factors_in_float64 = solved()
    assert loss == pytest.approx(loss_in_float64, rel=1e-6)
    np.testing.assert_allclose(factors, factors_in_float64, atol=1e-4 * np.abs(factors).max())


def test_a_training_by_the_kernels_reaches_the_optimum_of_the_torch_reference(rng: np.random.Generator) -> None:
    # One factor: the optimum is the same from any start, which it is not in several dimensions.
    interactions = clustered_interactions(rng, weighted=True)
    config = ALSConfig(embedding_dim=1, epochs=100, regularization=0.01)
    kernel, reference = (
        ALS().fit(interactions, config=config, random_state=3, device=device) for device in ("cpu", "none")
    )
    assert kernel.train_loss == pytest.approx(reference.train_loss, rel=1e-4)
    np.testing.assert_allclose(
        kernel.user_factors @ kernel.item_factors.T, reference.user_factors @ reference.item_factors.T, atol=1e-3
    )


@pytest.mark.parametrize("device", ["cpu", "none"])
def test_the_loss_falls(rng: np.random.Generator, device: str) -> None:
    seen: list[Epoch] = []
    ALS().fit(
        clustered_interactions(rng),
        config=ALSConfig(embedding_dim=8, epochs=5),
        random_state=1,
        device=device,  # type: ignore[arg-type]
        watch=Watch(on_epoch=seen.append),
    )
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4, 5]
    assert seen[-1].train_loss < seen[0].train_loss


def test_rows_agree_with_implicit_by_the_identity_of_the_two_objectives(rng: np.random.Generator) -> None:
    # implicit minimises Σ C (p − x)² + reg |w|² with C = 1 where nothing was observed. With ν = 0 and α0 = 1 an
    # observed pair of ours has the weight c + α0 and the target c / (c + α0), so implicit's row with the confidence
    # c + α0 is ours times (c + α0) / c.
    implicit_als = pytest.importorskip("implicit.cpu.als")
    scipy_sparse = pytest.importorskip("scipy.sparse")
    interactions = clustered_interactions(rng)
    config = ALSConfig(
        embedding_dim=8, epochs=2, unobserved_weight=1, alpha=3, regularization=0.7, regularization_exponent=0
    )
    factors = ALS().fit(interactions, config=config, random_state=1)
    matrix = scipy_sparse.csr_matrix(
        (np.full(interactions.n_pairs, 4.0, np.float32), interactions.item_indices, interactions.indptr),
        shape=(interactions.n_users, interactions.n_items),
    )
    theirs = np.zeros_like(factors.user_factors)
    implicit_als.least_squares(matrix, theirs, factors.item_factors, 0.7, num_threads=1)
    np.testing.assert_allclose(theirs, factors.user_factors * (4 / 3), rtol=1e-3, atol=1e-5)


def test_the_number_of_torch_threads_outside_does_not_change_a_bit(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng)
    config = ALSConfig(embedding_dim=48, epochs=3)
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            results.append(ALS().fit(interactions, config=config, random_state=5).item_factors.tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1]


def test_a_value_out_of_range_is_refused_with_the_range() -> None:
    with pytest.raises(UserError, match=r"embedding_dim=0 is out of range: give a value that is ≥ 1"):
        ALSConfig(embedding_dim=0)


def test_without_alpha_the_unit_of_the_weights_does_not_matter(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    scaled = replace(interactions, weights=interactions.weights * np.float32(8))
    config = ALSConfig(embedding_dim=4, epochs=3)
    one, other = (ALS().fit(data, config=config, random_state=1) for data in (interactions, scaled))
    np.testing.assert_allclose(one.item_factors, other.item_factors, rtol=1e-5)
    resolved = ALS().resolved(config, interactions=scaled)
    assert resolved.alpha == pytest.approx(1 / scaled.weights.mean(dtype=np.float64))
    assert ALS().resolved(ALSConfig(alpha=2), interactions=scaled).alpha == 2


RESOLVED = ALSConfig(alpha=1, unobserved_weight=0.3, regularization=0.01)


def row_system(item_factors: NDArray[np.float32], config: ALSConfig) -> RowSystem:
    biases = np.zeros(len(item_factors), np.float32)
    return ALS().row_system(config, ItemSide(item_factors, biases))


def test_the_row_system_is_that_of_the_normal_equations(rng: np.random.Generator) -> None:
    # More items than one block of the Gram matrix has.
    H = rng.standard_normal((20_001, 7)).astype(np.float32)
    config = ALSConfig(
        embedding_dim=7, alpha=2.5, unobserved_weight=0.3, regularization=0.7, regularization_exponent=0.4
    )
    system = row_system(H, config)
    exact = H.astype(np.float64)
    np.testing.assert_allclose(system.gram, 0.3 * exact.T @ exact, rtol=1e-12, atol=1e-10)
    assert system.gram.dtype == np.float64 and not system.constant.any() and not system.has_bias
    assert (system.targets == 1).all() and not system.offsets.any() and system.alpha == 2.5
    assert len(system.targets) == len(system.offsets) == 20_001


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.3])
def test_fold_in_and_training_have_one_penalty(rng: np.random.Generator, exponent: float) -> None:
    config = ALSConfig(
        embedding_dim=2, alpha=1, unobserved_weight=0.3, regularization=0.38, regularization_exponent=exponent
    )
    counts = np.array([0, 1, 2, 50])
    folding = row_system(rng.standard_normal((60, 2)).astype(np.float32), config).penalties(counts)
    assert np.array_equal(folding, row_penalties(counts, other_side=60, config=config))
    np.testing.assert_allclose(folding, 0.38 * (counts + 0.3 * 60) ** exponent)


def test_the_row_system_has_the_same_bytes_whatever_the_torch_threads(rng: np.random.Generator) -> None:
    H = rng.standard_normal((30_000, 48)).astype(np.float32)
    before = torch.get_num_threads()
    grams = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            grams.append(row_system(H, replace(RESOLVED, embedding_dim=48)).gram.tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert grams[0] == grams[1]


def test_a_configuration_without_alpha_folds_nobody_in() -> None:
    with pytest.raises(AlgorithmError, match="the resolved configuration"):
        row_system(np.ones((3, 2), np.float32), ALSConfig(embedding_dim=2))
