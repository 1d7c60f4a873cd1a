"""The last half-sweep of `explicit`: every user's row solved exactly while the items stay as they are.

For the squared loss the row is one linear system; for the other losses the same system with working weights is solved
until nothing moves (Newton's method; McCullagh and Nelder 1989, section 2.5), with steps halved until the objective
falls. It is the problem by which users are folded in (`factorbox.models.row_system.RowSystem`), so a user who is folded
in from the history of training gets the row of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.rating_losses import fitted_values
from factorbox.models.rating_slopes import LOSSES
from factorbox.models.row_system import RowSystem
from factorbox.threads import Threads

_BLOCK_BYTES = 16 << 20
_ALL_BYTES = 128 << 20
"""What the blocks of all threads may take together; one block of a large dimension takes more."""
_CHUNK = 512
"""Ratings of each user that are gathered at once."""
_STEPS = 100
_HALVINGS = 200
"""As in fold-in: enough for a count of 1e38 that a row of zeros expects to be 1."""
_TOLERANCE = 1e-7
"""A row is solved once a step is shorter than this, relative to the row's largest number or 1."""
_RIDGE = 1e-8
"""What is added to the diagonal of a system that is not positive definite, relative to its largest element."""


def solve_rows(system: RowSystem, histories: Rows, *, threads: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the solution of each history: factors (rows, d) and biases (rows,), which are 0 where users have none.

    Raises
    ------
    AlgorithmError
        Where a system has numbers that are not finite.
    """
    n_rows, d = len(histories.counts), system.item_factors.shape[1]
    factors, biases = np.zeros((n_rows, d), dtype=np.float32), np.zeros(n_rows, dtype=np.float32)
    values = fitted_values(histories.weights, loss=system.loss, like_above=system.like_above)
    fitted = Rows(histories.indptr, histories.indices, values)

    def solve(rows: NDArray[np.int64]) -> None:
        solved = _solve_block(system, fitted, rows).float().numpy()
        factors[rows] = solved[:, :d]
        if system.has_bias:
            biases[rows] = solved[:, d]

    of_one = _block_bytes(system.has_bias + d)
    with Threads(min(threads, max(1, _ALL_BYTES // of_one))) as pool:
        pool.map(solve, _blocks(histories.counts, m=d + system.has_bias))
    return factors, biases


def rows_memory(*, embedding_dim: int) -> int:
    """Estimate the bytes that `solve_rows` needs, with any number of threads."""
    return max(_ALL_BYTES, _block_bytes(embedding_dim + 1))


def _block_bytes(m: int) -> int:
    """Bytes of the largest block of rows with m unknowns."""
    return max(_BLOCK_BYTES, _row_bytes(_CHUNK, m=m))


def _row_bytes(chunk: int, *, m: int) -> int:
    """Bytes of x and its weighted copy, (chunk, m) each, and of A, its factor and what forms it."""
    return 8 * m * (2 * chunk + 3 * m)


def _blocks(counts: NDArray[np.int64], *, m: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of like length, as many as the memory for a block holds; none without a rating."""
    order = np.argsort(counts, kind="stable")[::-1]
    order = order[: np.count_nonzero(counts)]
    start = 0
    while start < len(order):
        longest = min(int(counts[order[start]]), _CHUNK)
        size = max(1, _BLOCK_BYTES // _row_bytes(longest, m=m))
        yield order[start : start + size]
        start += size


class _Block:
    """Some users' histories in chunks, padded with weight 0."""

    def __init__(self, system: RowSystem, fitted: Rows, rows: NDArray[np.int64]) -> None:
        self._system, self._fitted = system, fitted
        self._starts, self._counts = fitted.indptr[rows], fitted.counts[rows]
        self.loss = LOSSES[system.loss]
        self.penalties = torch.from_numpy(system.penalties(self._counts))[:, None]  # ρ, (rows, 1)

    def chunks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield x_k (rows, chunk, m), and t_k, the values and 1 or 0 for padding, (rows, chunk) each."""
        d = self._system.item_factors.shape[1]
        for begin in range(0, int(self._counts.max()), _CHUNK):
            within = np.arange(begin, min(begin + _CHUNK, int(self._counts.max())))
            real = within < self._counts[:, None]
            at = np.where(real, self._starts[:, None] + within, 0)
            items = self._fitted.indices[at]
            x = torch.ones(*at.shape, d + self._system.has_bias, dtype=torch.float64)
            x.numpy()[..., :d] = self._system.item_factors[items]
            x *= torch.from_numpy(real)[..., None]
            targets = torch.from_numpy(self._system.targets[items].astype(np.float64))
            values = torch.from_numpy(self._fitted.weights[at].astype(np.float64))
            yield x, targets, values, torch.from_numpy(real.astype(np.float64))

    def objective(self, v: torch.Tensor) -> torch.Tensor:
        """Σ_k loss(r_k, x_k·v − t_k) + ½ ρ |v|².  # (rows,)."""
        total = 0.5 * (self.penalties * v.square()).sum(dim=1)
        for x, targets, values, real in self.chunks():
            total += (real * self.loss.value(_products(x, v) - targets, values)).sum(dim=1)
        return total

    def newton_step(self, v: torch.Tensor) -> torch.Tensor:
        """A⁻¹ times the gradient, with A the second derivative of the objective.  # (rows, m)."""
        A = torch.diag_embed(self.penalties.expand(v.shape))  # (rows, m, m)
        gradient = self.penalties * v
        for x, targets, values, real in self.chunks():
            mean = self.loss.mean(_products(x, v) - targets)
            gradient += _products(x.mT, real * (mean - values))
            A += x.mT @ ((real * self.loss.curvature(mean))[..., None] * x)
        L, solvable = _factored(A)
        if not bool(solvable.all()):
            # As in fold-in: with no penalty, or one that is lost in rounding, a system may be singular; of its
            # solutions this takes nearly the shortest.
            diagonal = A.diagonal(dim1=1, dim2=2)
            largest = diagonal.amax(dim=1, keepdim=True)
            diagonal += ~solvable[:, None] * torch.where(largest > 0, _RIDGE * largest, 1.0)
            L, solvable = _factored(A)
        if not bool(solvable.all()):
            raise AlgorithmError(
                "numbers in a user's system in explicit are no longer finite: lower learning_rate, raise regularization"
                f" (now {self._system.regularization:g}), or scale very large ratings down"
            )
        return torch.cholesky_solve(gradient[..., None], L)[..., 0]


def _factored(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Cholesky factors of matrices (rows, m, m), and which of them, (rows,), have pivots above rounding."""
    L, failed = torch.linalg.cholesky_ex(A)
    pivots, diagonal = L.diagonal(dim1=1, dim2=2).square(), A.diagonal(dim1=1, dim2=2)
    least = A.shape[1] * torch.finfo(A.dtype).eps * diagonal
    # Written so that NaN fails, too.
    sound = (pivots > least) & (pivots < math.inf)
    return L, sound.all(dim=1) & (failed == 0)


def _products(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return x·v of every row of matrices and its vector.  # (rows, ...)."""
    return (x @ v[..., None])[..., 0]


def _solve_block(system: RowSystem, fitted: Rows, rows: NDArray[np.int64]) -> torch.Tensor:
    """Return [w, b] of some users.  # (rows, m)."""
    block = _Block(system, fitted, rows)
    v = torch.zeros(len(rows), system.item_factors.shape[1] + system.has_bias, dtype=torch.float64)
    if system.loss == "squared":
        return v - block.newton_step(v)
    objective = block.objective(v)
    for _ in range(_STEPS):
        step = block.newton_step(v)
        if bool((step.abs().amax(dim=1) <= _TOLERANCE * v.abs().amax(dim=1).clamp_min(1.0)).all()):
            return v - step
        length = torch.ones(len(v), 1, dtype=torch.float64)
        for _ in range(_HALVINGS):
            moved = v - length * step
            reached = block.objective(moved)
            # Written so that NaN fails, too.
            worse = ~(reached <= objective + 1e-12 * objective.abs())
            if not bool(worse.any()):
                break
            length[worse] *= 0.5
        v, objective = torch.where(worse[:, None], v, moved), torch.where(worse, objective, reached)
    return v
