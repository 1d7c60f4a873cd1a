"""Half-sweeps of non-negative factorization in torch, a component at a time: the readable reference, and for GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.nmf_sweeps import Problem, Progress, Side, squared_error_at_solution
from factorbox.models.row_system import RowSystem

_EXACT_PASSES = 10_000
_EXACT = 1e-10
"""A row is solved where no step changes a gradient by more than this, relative to the largest |b|."""


class TorchSweeps:
    """`Sweeps` in float64. All rows take the same step at once, which is what each would do by itself.

    Sums run on one thread of the processor, so that they do not depend on how many there are. The GPU path is
    unmeasured: no GPU was at hand.
    """

    def __init__(self, problem: Problem, *, device: str) -> None:
        self._kind = ObservedCells if problem.observed_only else EveryCell
        self._regularization = problem.regularization
        self._device = torch.device(device)
        self._threads_before = torch.get_num_threads()

    def __enter__(self) -> Self:
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self._threads_before)

    def update(self, side: Side, *, fixed: Side, should_stop: Callable[[], bool]) -> Progress:
        """See `factorbox.models.nmf_sweeps.Sweeps.update`."""
        if should_stop():
            return Progress(violation=0.0, squared_error=0.0)
        problem = self._on(side.rows, torch.from_numpy(fixed.factors))
        W = torch.from_numpy(side.factors).to(self._device)
        # A row of zeros alone is at its minimum with w = 0.
        W[(problem.b == 0).all(1)] = 0.0
        problem.begin(W)
        violation, _ = problem.descend(W)
        side.factors[:] = W.cpu().numpy()
        return Progress(violation=violation, squared_error=problem.squared_error(W))

    def solve(self, side: Side, *, system: RowSystem) -> tuple[NDArray[np.float32], float]:
        """See `factorbox.models.nmf_sweeps.Sweeps.solve`; by descent until no step changes anything."""
        problem = self._on(side.rows, torch.from_numpy(system.item_factors).double())
        W = torch.zeros(side.factors.shape, dtype=torch.float64, device=self._device)
        problem.begin(W)
        limit = _EXACT * float(problem.b.abs().max())
        for _ in range(_EXACT_PASSES):
            _, largest = problem.descend(W)
            if largest <= limit:
                break
        factors = W.float().cpu().numpy()
        explained = (problem.b * W).sum(1).cpu().numpy()
        penalties = system.penalties(side.rows.counts)
        return factors, squared_error_at_solution(side.rows, factors, explained=explained, penalties=penalties)

    def _on(self, rows: Rows, H: torch.Tensor) -> EveryCell | ObservedCells:
        return self._kind(rows, H.to(self._device), regularization=self._regularization)


class EveryCell:
    """½ ‖X − W Hᵀ‖² + ½ λ ‖W‖² over all cells, as a function of W."""

    def __init__(self, rows: Rows, H: torch.Tensor, *, regularization: float) -> None:
        row_of = torch.from_numpy(np.repeat(np.arange(len(rows.counts)), rows.counts))
        places = torch.stack([row_of, torch.from_numpy(rows.indices.astype(np.int64))])
        x = torch.from_numpy(rows.weights.astype(np.float64))
        shape = len(rows.counts), len(H)
        X = torch.sparse_coo_tensor(places, x, shape, device=H.device, is_coalesced=True, check_invariants=True)
        self.b = X @ H  # (rows, d)
        self._squares = float(x.square().sum())
        self._gram = H.T @ H  # (d, d)
        self._regularization = regularization

    def begin(self, W: torch.Tensor) -> None:
        """Prepare for passes from W."""

    def descend(self, W: torch.Tensor) -> tuple[float, float]:
        """Change W by one pass; returns the violation and the largest change that a step made to its gradient."""
        A = self._gram + self._regularization * torch.eye(len(self._gram), dtype=W.dtype, device=W.device)
        violation = largest = 0.0
        for t in range(len(A)):
            gradient = W @ A[:, t] - self.b[:, t]  # (rows,)
            step = _step(W[:, t], gradient=gradient, curvature=A[t, t])
            violation += _violation(W[:, t], gradient)
            W[:, t] += step
            largest = max(largest, float((step.abs() * A[t, t]).max()))
        return violation, largest

    def squared_error(self, W: torch.Tensor) -> float:
        """Return Σ (x − w·h)² = Σ x² − 2 Σ b·w + Σ wᵀHᵀH w."""
        return float(self._squares - 2 * (self.b * W).sum() + ((W @ self._gram) * W).sum())


class ObservedCells:
    """The same over the entries alone."""

    def __init__(self, rows: Rows, H: torch.Tensor, *, regularization: float) -> None:
        self._row_of = torch.from_numpy(np.repeat(np.arange(len(rows.counts)), rows.counts)).to(H.device)
        self._x = torch.from_numpy(rows.weights.astype(np.float64)).to(H.device)
        self._S = H[torch.from_numpy(rows.indices.astype(np.int64)).to(H.device)]  # (entries, d)
        self._n_rows = len(rows.counts)
        self._regularization = regularization
        self._residuals = self._x
        self.b = torch.zeros(self._n_rows, H.shape[1], dtype=H.dtype, device=H.device)
        self.b.index_add_(0, self._row_of, self._x[:, None] * self._S)

    def begin(self, W: torch.Tensor) -> None:
        """Prepare for passes from W."""
        self._residuals = self._x - (W[self._row_of] * self._S).sum(1)  # (entries,)

    def descend(self, W: torch.Tensor) -> tuple[float, float]:
        """See `EveryCell.descend`."""
        λ = self._regularization
        violation = largest = 0.0
        for t in range(W.shape[1]):
            h = self._S[:, t]
            gradient = λ * W[:, t] - self._by_row(self._residuals * h)
            curvature = self._by_row(h.square()) + λ
            step = _step(W[:, t], gradient=gradient, curvature=curvature)
            violation += _violation(W[:, t], gradient)
            W[:, t] += step
            self._residuals = self._residuals - step[self._row_of] * h
            largest = max(largest, float((step.abs() * curvature).max()))
        return violation, largest

    def squared_error(self, W: torch.Tensor) -> float:
        """Return Σ (x − w·h)² over the entries."""
        return float(self._residuals.square().sum())

    def _by_row(self, values: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(self._n_rows, dtype=values.dtype, device=values.device)
        return sums.index_add_(0, self._row_of, values)


def _step(w: torch.Tensor, *, gradient: torch.Tensor, curvature: torch.Tensor) -> torch.Tensor:
    """Return what takes each w ≥ 0 to its minimum; 0 where nothing depends on it."""
    minimum = (w - gradient / curvature).clamp(min=0)
    return torch.where(curvature > 0, minimum - w, 0.0)


def _violation(w: torch.Tensor, gradient: torch.Tensor) -> float:
    return float(torch.where(w == 0, gradient.clamp(max=0), gradient).abs().sum())
