"""One training of `nmf`: sweeps of coordinate descent, and a last solution for the users."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.base import Device, Epoch, Factors, ItemSide, Watch, listed_value
from factorbox.models.nmf import NMFConfig, given_regularization
from factorbox.models.nmf_init import FIRST_VIOLATION, starting_sides
from factorbox.models.nmf_sweeps import KernelSweeps, Problem, Side, Sweeps
from factorbox.models.nmf_torch import TorchSweeps
from factorbox.models.row_system import RowSystem


def fit(
    interactions: Interactions,
    *,
    config: NMFConfig,
    row_system: Callable[[ItemSide], RowSystem],
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model by the resolved configuration; see `factorbox.models.nmf.NMF.fit`."""
    cells = _cells(interactions, config=config)
    users, items = starting_sides(
        interactions,
        dimension=config.embedding_dim,
        init=config.init,
        mean=float(interactions.weights.sum(dtype=np.float64)) / cells,
        rng=np.random.default_rng(random_state),
        threads=threads,
        start=start,
    )
    constants = {"listed_value": listed_value(interactions.weights)}
    completed, train_loss, first_violation, converged = 0, math.nan, math.nan, False
    metrics: Mapping[str, float] = {}
    if start is not None:
        completed, train_loss, metrics = start.epochs, start.train_loss, start.metrics
        first_violation = float(start.state[FIRST_VIOLATION][0])

    def model() -> Factors:
        known_violation = min(first_violation, float(np.finfo(np.float32).max))
        return Factors(
            user_factors=_single(users.factors),
            item_factors=_single(items.factors),
            user_biases=np.zeros(interactions.n_users, dtype=np.float32),
            item_biases=np.zeros(interactions.n_items, dtype=np.float32),
            epochs=completed,
            train_loss=train_loss,
            fold_in=constants,
            converged=converged,
            metrics=metrics,
            state={FIRST_VIOLATION: np.array([known_violation], dtype=np.float32)},
        )

    with _sweeps(config, threads=threads, device=device) as sweeps:
        for number in range(completed + 1, completed + config.epochs + 1):
            started = time.perf_counter()
            should_stop = watch.should_stop if completed else _never
            of_users = sweeps.update(users, fixed=items, should_stop=should_stop)
            of_items = sweeps.update(items, fixed=users, should_stop=should_stop)
            if should_stop():
                break
            violation = of_users.violation + of_items.violation
            squared_error = max(of_items.squared_error, 0.0)
            completed, train_loss = number, squared_error / cells
            if not (math.isfinite(train_loss) and math.isfinite(violation)):
                raise AlgorithmError(
                    f"the loss of nmf became {train_loss} in epoch {number}: lower regularization"
                    f" (now {config.regularization:g}), or scale very large ratings down"
                )
            if number == 1:
                first_violation = violation
            metrics = {"violation": violation, "reconstruction_error": math.sqrt(squared_error)}
            converged = violation <= config.tol * first_violation
            watch.on_epoch(Epoch(number, train_loss, time.perf_counter() - started, model, metrics))
            if converged:
                break
        return _solved(model(), users=users, sweeps=sweeps, row_system=row_system)


def finished(
    snapshot: Factors,
    *,
    interactions: Interactions,
    config: NMFConfig,
    row_system: Callable[[ItemSide], RowSystem],
    threads: int,
    device: Device,
) -> Factors:
    """Solve for the users; see `factorbox.models.nmf.NMF.finished`."""
    users = Side(rows=interactions.by_user(), factors=snapshot.user_factors.astype(np.float64))
    with _sweeps(config, threads=threads, device=device) as sweeps:
        return _solved(snapshot, users=users, sweeps=sweeps, row_system=row_system)


def _solved(model: Factors, *, users: Side, sweeps: Sweeps, row_system: Callable[[ItemSide], RowSystem]) -> Factors:
    user_factors, squared_error = sweeps.solve(users, system=row_system(model.item_side))
    metrics = {**model.metrics, "reconstruction_error": math.sqrt(squared_error)}
    return replace(model, user_factors=user_factors, metrics=metrics)


def _cells(interactions: Interactions, *, config: NMFConfig) -> int:
    """How many cells count."""
    return interactions.n_pairs if config.observed_only else interactions.n_users * interactions.n_items


def _single(factors: NDArray[np.float64]) -> NDArray[np.float32]:
    return torch.from_numpy(factors).float().numpy()


def _sweeps(config: NMFConfig, *, threads: int, device: Device) -> Sweeps:
    problem = Problem(regularization=given_regularization(config), observed_only=config.observed_only)
    if device == "cpu":
        return KernelSweeps(problem, threads=threads)
    return TorchSweeps(problem, device="cpu" if device == "none" else "cuda")


def _never() -> bool:
    return False
