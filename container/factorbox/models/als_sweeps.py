"""Half-sweeps of ALS on the processor: a rotation to the Gram matrix's eigenbasis, then the row kernel.

Scores do not change when both sides are rotated alike. In the eigenbasis of HᵀH that matrix is diagonal, so the
kernel gets its product and a good preconditioner for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.als_kernels import scratch, solve_rows
from factorbox.threads import Threads

SWEEP_STEPS = 2
"""Conjugate-gradient steps of a row within a sweep: started from the last sweep's solution, two keep up with exact
solves from the fifth epoch on (measured)."""

EXACT_STEPS = 500
EXACT_RESIDUAL = 1e-6

_BLOCK_ROWS = 8192
_BLOCK_PAIRS = 16384


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
        _, basis = torch.linalg.eigh(gram_matrix(fixed.factors, torch.float32, threads=self._threads))
        # eigh sorts ascending; descending keeps the largest directions first in the artifact.
        rotation = basis.flip(1).contiguous().numpy()
        self._rotate(fixed, rotation)
        self._rotate(side, rotation)
        # The rotated float32 factors are not exactly orthogonal; an exact solve needs their true Gram matrix.
        precision = torch.float64 if exact else torch.float32
        gram = self._unobserved_weight * gram_matrix(fixed.factors, precision, threads=self._threads).numpy()
        dtype = np.float64 if exact else np.float32
        if not exact:
            gram = np.diag(gram)[None, :]
        gram = np.ascontiguousarray(gram, dtype=dtype)
        losses = np.zeros(len(side.penalties))
        longest = int(side.rows.counts.max(initial=0))
        steps, residual = (EXACT_STEPS, EXACT_RESIDUAL) if exact else (SWEEP_STEPS, 0.0)

        def solve(block: tuple[int, int]) -> None:
            if should_stop():
                return
            history, vectors = scratch(longest, side.factors.shape[1], dtype)
            solve_rows(
                *block,
                side.rows.indptr,
                side.rows.indices,
                side.rows.weights,
                self._alpha,
                fixed.factors,
                side.factors,
                gram,
                side.penalties,
                steps,
                residual,
                history,
                vectors,
                losses,
            )

        self._threads.map(solve, _blocks_of_pairs(side.rows.indptr))
        return float(losses.sum())

    def _rotate(self, side: Side, rotation: NDArray[np.float64]) -> None:
        single = torch.from_numpy(rotation).float()

        def rotate(start: int) -> None:
            block = torch.from_numpy(side.factors[start : start + _BLOCK_ROWS])
            block.copy_(block @ single)

        self._threads.map(rotate, range(0, len(side.factors), _BLOCK_ROWS))


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


def _blocks_of_pairs(indptr: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut the rows where they add up to about `_BLOCK_PAIRS` pairs, so that threads end together."""
    n_rows = len(indptr) - 1
    cuts = np.searchsorted(indptr, np.arange(_BLOCK_PAIRS, int(indptr[-1]), _BLOCK_PAIRS))
    edges = np.unique(np.concatenate([[0], cuts, [n_rows]]))
    return [(int(a), int(b)) for a, b in pairwise(edges)]
