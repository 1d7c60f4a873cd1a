"""Half-sweeps of ALS on the processor: a rotation to the Gram matrix's eigenbasis, then the row kernel.

Scores do not change when both sides are rotated alike. In the eigenbasis of HᵀH that matrix is diagonal, so the
kernel gets its product and a good preconditioner for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.als_exact_kernels import exact_scratch, solve_rows_exactly
from factorbox.models.als_kernels import improve_rows, sweep_scratch
from factorbox.models.vector_instructions import LANES
from factorbox.threads import Threads

SWEEP_STEPS = 2
"""Conjugate-gradient steps of a row within a sweep: started from the last sweep's solution, two keep up with exact
solves from the fifth epoch on (measured)."""

EXACT_RESIDUAL = 1e-6

_BLOCK_ROWS = 8192
_BLOCK_PAIRS = 32768


@dataclass(eq=False)
class Side:
    """Users or items: their interactions, the penalty ρ of each row, and their factors."""

    rows: Rows
    penalties: NDArray[np.float64]  # (rows,)
    factors: NDArray[np.float32]  # (rows, d)


class Sweeps(Protocol):
    """One way to do the half-sweeps: numba kernels, or torch."""

    def update(self, side: Side, *, fixed: Side, exact: bool, should_stop: Callable[[], bool]) -> float:
        """Solve all rows of `side` against `fixed` and return the objective without its penalty.

        With `exact`, to a relative residual of 1e-6; otherwise as far as pays within a sweep. Rows that are not
        begun when `should_stop` answers true stay as they were.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class KernelSweeps:
    """`Sweeps` by the numba row kernel."""

    def __init__(self, *, unobserved_weight: float, alpha: float, threads: int) -> None:
        self._unobserved_weight = unobserved_weight
        self._alpha = alpha
        self._threads = Threads(threads)
        self._torch_threads_before = torch.get_num_threads()

    def __enter__(self) -> Self:
        # The calling thread decomposes the Gram matrix: on one thread too, or its bits would depend on the machine.
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.close()
        torch.set_num_threads(self._torch_threads_before)

    def update(self, side: Side, *, fixed: Side, exact: bool, should_stop: Callable[[], bool]) -> float:
        """See `Sweeps.update`."""
        values, basis = torch.linalg.eigh(gram_matrix(fixed.factors, torch.float32, threads=self._threads))
        # eigh sorts ascending; descending keeps the largest directions first in the artifact.
        rotation = basis.flip(1).float()
        self._rotate(fixed, rotation)
        self._rotate(side, rotation)
        if exact:
            return self._solved(side, fixed=fixed, should_stop=should_stop)
        return self._improved(side, fixed=fixed, squares=values.flip(0).numpy(), should_stop=should_stop)

    def _improved(
        self, side: Side, *, fixed: Side, squares: NDArray[np.float64], should_stop: Callable[[], bool]
    ) -> float:
        """Take `SWEEP_STEPS` in each row, given the diagonal of HᵀH, which is all of it."""
        d = len(squares)
        width = _width(d)
        H, W = _widened(fixed.factors), _widened(side.factors)
        # Rounding may leave an eigenvalue below 0.
        gram = _filled_up(self._unobserved_weight * np.maximum(squares, 0.0), np.float32)
        moments = self._moments(fixed)
        losses = np.zeros(len(W))

        def improve(block: tuple[int, int]) -> None:
            if should_stop():
                return
            improve_rows(
                *block,
                side.rows.indptr,
                side.rows.indices,
                side.rows.weights,
                self._alpha,
                H,
                W,
                gram,
                moments,
                side.penalties,
                SWEEP_STEPS,
                *sweep_scratch(width),
                losses,
            )

        self._threads.map(improve, _blocks_of_pairs(side.rows.indptr))
        if W is not side.factors:
            side.factors[:] = W[:, :d]
        return float(losses.sum())

    def _solved(self, side: Side, *, fixed: Side, should_stop: Callable[[], bool]) -> float:
        """Solve each row to `EXACT_RESIDUAL`."""
        d = fixed.factors.shape[1]
        width = _width(d)
        H, W = _widened(fixed.factors), _widened(side.factors)
        # The rotated float32 factors are not exactly orthogonal; an exact solve needs their true Gram matrix.
        gram = self._unobserved_weight * gram_matrix(fixed.factors, torch.float64, threads=self._threads).numpy()
        diagonal = _filled_up(np.diag(gram), np.float64)
        gram_rest = np.zeros((width, width), dtype=np.float32)
        gram_rest[:d, :d] = gram - np.diag(np.diag(gram))
        moments = self._moments(fixed)
        losses, failed = np.zeros(len(W)), np.zeros(len(W), dtype=np.bool_)

        def solve(block: tuple[int, int]) -> None:
            if should_stop():
                return
            solve_rows_exactly(
                *block,
                side.rows.indptr,
                side.rows.indices,
                side.rows.weights,
                self._alpha,
                H,
                W,
                diagonal,
                gram_rest,
                moments,
                side.penalties,
                EXACT_RESIDUAL,
                *exact_scratch(width),
                losses,
                failed,
            )

        self._threads.map(solve, _blocks_of_pairs(side.rows.indptr))
        if W is not side.factors:
            side.factors[:] = W[:, :d]

        def solve_densely(row: int) -> None:
            losses[row] = _solve_densely(row, side=side, fixed=fixed, gram=gram, alpha=self._alpha)

        self._threads.map(solve_densely, np.flatnonzero(failed).tolist())
        return float(losses.sum())

    def _rotate(self, side: Side, rotation: torch.Tensor) -> None:
        rotation = rotation.contiguous()

        def rotate(start: int) -> None:
            block = torch.from_numpy(side.factors[start : start + _BLOCK_ROWS])
            block.copy_(block @ rotation)

        self._threads.map(rotate, range(0, len(side.factors), _BLOCK_ROWS))

    def _moments(self, side: Side) -> NDArray[np.float32]:
        """Return the mean square of each factor over the entries of all rows.  # (width,)."""
        shares = torch.from_numpy((side.rows.counts / max(1, len(side.rows.indices))).astype(np.float32))

        def of_block(start: int) -> torch.Tensor:
            block = torch.from_numpy(side.factors[start : start + _BLOCK_ROWS])
            return shares[start : start + _BLOCK_ROWS] @ block.square()

        parts = self._threads.map(of_block, range(0, len(side.factors), _BLOCK_ROWS))
        moments = np.zeros(_width(side.factors.shape[1]), dtype=np.float32)
        moments[: side.factors.shape[1]] = torch.stack(parts).double().sum(0).numpy()
        return moments


def gram_matrix(factors: NDArray[np.floating], dtype: torch.dtype, *, threads: Threads) -> torch.Tensor:
    """Return FᵀF in float64: fixed blocks of products in `dtype`, added in their order, so that threads do not matter.

    # (d, d).
    """

    def of_block(start: int) -> torch.Tensor:
        block = torch.from_numpy(factors[start : start + _BLOCK_ROWS]).to(dtype)
        return (block.T @ block).double()

    total = torch.zeros(factors.shape[1], factors.shape[1], dtype=torch.float64)
    for part in threads.map(of_block, range(0, len(factors), _BLOCK_ROWS)):
        total += part
    return total


def _solve_densely(row: int, *, side: Side, fixed: Side, gram: NDArray[np.float64], alpha: float) -> float:
    """Solve a row whose system is too ill-conditioned for float32, and return its part of the objective."""
    entries = slice(side.rows.indptr[row], side.rows.indptr[row + 1])
    S = torch.from_numpy(fixed.factors[side.rows.indices[entries]]).double()  # (entries, d)
    c = alpha * torch.from_numpy(side.rows.weights[entries]).double()  # (entries,)
    G = torch.from_numpy(gram)
    A = G + S.T @ (c[:, None] * S) + side.penalties[row] * torch.eye(len(gram), dtype=torch.float64)
    if not bool(A.isfinite().all()):
        return math.nan
    values, vectors = torch.linalg.eigh(A)
    # Where A is singular, the shortest of its solutions.
    inverses = torch.where(values > values[-1] * len(values) * 2.0**-52, 1 / values, 0)
    w = vectors @ (inverses * (vectors.T @ (c @ S)))  # (d,)
    side.factors[row] = w.float().numpy()
    return float((c * (1 - S @ w).square()).sum() + w @ G @ w)


def _width(d: int) -> int:
    """Return the columns of a table for kernels: whole vectors."""
    return -(-d // LANES) * LANES


def _widened(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the factors with columns of zeros up to whole vectors, or themselves.  # (rows, width)."""
    rows, d = factors.shape
    if d == _width(d):
        return factors
    wide = np.zeros((rows, _width(d)), dtype=np.float32)
    wide[:, :d] = factors
    return wide


def _filled_up(diagonal: NDArray[np.float64], dtype: type[np.floating]) -> NDArray[np.floating]:
    """Return a diagonal with ones for the columns of zeros: anything but 0, which would divide 0.  # (width,)."""
    full = np.ones(_width(len(diagonal)), dtype=dtype)
    full[: len(diagonal)] = diagonal
    return full


def _blocks_of_pairs(indptr: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut the rows where they add up to about `_BLOCK_PAIRS` pairs, so that threads end together."""
    n_rows = len(indptr) - 1
    cuts = np.searchsorted(indptr, np.arange(_BLOCK_PAIRS, int(indptr[-1]), _BLOCK_PAIRS))
    edges = np.unique(np.concatenate([[0], cuts, [n_rows]]))
    return [(int(a), int(b)) for a, b in pairwise(edges)]
