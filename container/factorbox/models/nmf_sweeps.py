"""Half-sweeps of non-negative factorization on the processor: numba kernels over fixed blocks of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.als_sweeps import gram_matrix
from factorbox.models.nmf_kernels import descend_observed_rows, descend_rows
from factorbox.models.non_negative_kernels import solve_rows_non_negative
from factorbox.models.row_system import RowSystem
from factorbox.threads import Threads

_BLOCK_WORK = 16384
"""Pairs of a block, where a row counts as many pairs as it has components."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is minimised.

    Attributes
    ----------
    regularization
        λ.
    observed_only
        Whether cells without an entry do not count; otherwise they are zeros.
    """

    regularization: float
    observed_only: bool


@dataclass(eq=False)
class Side:
    """Users or items: their entries and factors."""

    rows: Rows
    factors: NDArray[np.float64]  # (rows, d)


@dataclass(frozen=True)
class Progress:
    """What a half-sweep tells.

    Attributes
    ----------
    violation
        Σ |projected gradient| over all factors of the side, each taken before its own step.
    squared_error
        Σ (x − w·h)² over the cells that count, after the half-sweep.
    """

    violation: float
    squared_error: float


class Sweeps(Protocol):
    """One way to do the half-sweeps: numba kernels, or torch."""

    def update(self, side: Side, *, fixed: Side, should_stop: Callable[[], bool]) -> Progress:
        """Improve all rows of `side` by one pass of coordinate descent.

        Rows that are not begun when `should_stop` answers true stay as they were.
        """
        ...

    def solve(self, side: Side, *, system: RowSystem) -> tuple[NDArray[np.float32], float]:
        """Return the factors that solve each row's problem, (rows, d), and the squared error as in `Progress`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class KernelSweeps:
    """`Sweeps` by numba kernels."""

    def __init__(self, problem: Problem, *, threads: int) -> None:
        self._problem = problem
        self._threads = Threads(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.close()

    def update(self, side: Side, *, fixed: Side, should_stop: Callable[[], bool]) -> Progress:
        """See `Sweeps.update`."""
        n_rows, d = side.factors.shape
        violations, losses = np.zeros(n_rows), np.zeros(n_rows)
        entries = side.rows.indptr, side.rows.indices, side.rows.weights
        longest = int(side.rows.counts.max(initial=0))
        gram = gram_matrix(fixed.factors, torch.float64, threads=self._threads).numpy()
        A = gram + self._problem.regularization * np.eye(d)

        def improve(block: tuple[int, int]) -> None:
            if should_stop():
                return
            λ = self._problem.regularization
            if self._problem.observed_only:
                scratch = np.empty((d, longest)), np.empty(longest)
                descend_observed_rows(*block, *entries, fixed.factors, side.factors, λ, *scratch, violations, losses)
            else:
                descend_rows(*block, *entries, fixed.factors, side.factors, A, λ, violations, losses)

        self._threads.map(improve, row_blocks(side.rows.indptr, row_work=d))
        return Progress(violation=float(violations.sum()), squared_error=float(losses.sum()))

    def solve(self, side: Side, *, system: RowSystem) -> tuple[NDArray[np.float32], float]:
        """See `Sweeps.solve`."""
        n_rows, d = side.factors.shape
        terms, penalties = system.terms(side.rows), system.penalties(side.rows.counts)
        fp = terms.f * terms.p
        factors, explained = torch.zeros(n_rows, d).numpy(), np.zeros(n_rows)

        def solve(block: tuple[int, int]) -> None:
            failed = solve_rows_non_negative(
                *block,
                side.rows.indptr,
                side.rows.indices,
                terms.c,
                fp,
                system.item_factors,
                system.gram,
                system.constant,
                penalties,
                factors,
                explained,
            )
            if failed >= 0:
                raise AlgorithmError(
                    f"nmf cannot solve for the factors of row {failed + 1}: raise regularization"
                    f" (now {self._problem.regularization:g})"
                )

        self._threads.map(solve, row_blocks(side.rows.indptr, row_work=d))
        return factors, squared_error_at_solution(side.rows, factors, explained=explained, penalties=penalties)


def squared_error_at_solution(
    rows: Rows, factors: NDArray[np.float32], *, explained: NDArray[np.float64], penalties: NDArray[np.float64]
) -> float:
    """Return Σ x² − Σ bᵀw − Σ ρ|w|², which is the squared error where A w = b for the components that are not 0.

    Parameters
    ----------
    explained
        bᵀw of each row, (rows,).
    penalties
        ρ of each row, (rows,).
    """
    total = np.square(rows.weights.astype(np.float64)).sum()
    lengths = np.square(factors.astype(np.float64)).sum(axis=1)
    return max(float(total - explained.sum() - (penalties * lengths).sum()), 0.0)


def row_blocks(indptr: NDArray[np.int64], *, row_work: int) -> list[tuple[int, int]]:
    """Cut the rows into blocks of about the same work, so that threads end together."""
    work = indptr + row_work * np.arange(len(indptr))
    cuts = np.searchsorted(work, np.arange(_BLOCK_WORK, int(work[-1]), _BLOCK_WORK))
    edges = np.unique(np.concatenate([[0], cuts, [len(indptr) - 1]]))
    return [(int(a), int(b)) for a, b in pairwise(edges)]
