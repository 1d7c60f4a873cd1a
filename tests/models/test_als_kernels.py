"""The row kernels of ALS against the equations, and their bits, which must not depend on where memory lies."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.als_exact_kernels import exact_scratch, solve_rows_exactly
from factorbox.models.als_kernels import improve_rows, sweep_scratch
from support import clustered_interactions

ALPHA = 0.5


@dataclass
class Problem:
    """Rows to solve for, and everything that is fixed."""

    rows: Rows
    fixed: NDArray[np.float32]
    start: NDArray[np.float32]
    gram: NDArray[np.float32]  # (d,)
    moments: NDArray[np.float32]  # (d,)
    penalties: NDArray[np.float64]

    def system(self, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return A and b without what the penalty adds, and Σ c."""
        part = slice(self.rows.indptr[row], self.rows.indptr[row + 1])
        h = self.fixed[self.rows.indices[part]].astype(np.float64)
        c = ALPHA * self.rows.weights[part].astype(np.float64)
        return np.diag(self.gram.astype(np.float64)) + (h.T * c) @ h, c @ h, float(c.sum())

    def objective(self, row: int, w: NDArray[np.floating]) -> float:
        """Return Σ c (1 − w·h)² + wᵀ diag(gram) w."""
        A, b, total = self.system(row)
        return float(w @ A @ w - 2 * b @ w + total)

    def improved(self, row: int, *, steps: int) -> NDArray[np.float64]:
        """Take steps of preconditioned conjugate gradients as textbooks write them."""
        A, b, total = self.system(row)
        A = A + self.penalties[row] * np.eye(len(A))
        diagonal = self.gram + self.penalties[row] + total * self.moments.astype(np.float64)
        w: NDArray[np.float64] = self.start[row].astype(np.float64)
        r = b - A @ w
        z = r / diagonal
        p = z
        for _ in range(steps):
            a = (r @ z) / (p @ A @ p)
            w = w + a * p
            following = r - a * (A @ p)
            z_following = following / diagonal
            p = z_following + (following @ z_following) / (r @ z) * p
            r, z = following, z_following
        return w


def problem(rng: np.random.Generator, *, d: int, n_users: int = 20) -> Problem:
    """Make rows of weighted interactions with 1 to some 20 entries, the first of them empty."""
    interactions = clustered_interactions(rng, n_users=n_users, n_items=40, weighted=True)
    rows = interactions.by_user()
    first = rows.indptr[1]
    rows = Rows(np.maximum(rows.indptr - first, 0), rows.indices[first:], rows.weights[first:])
    fixed = rng.standard_normal((40, d)).astype(np.float32)
    return Problem(
        rows=rows,
        fixed=fixed,
        start=rng.standard_normal((n_users, d)).astype(np.float32),
        gram=np.abs(rng.standard_normal(d)).astype(np.float32),
        moments=np.square(fixed).mean(axis=0),
        penalties=np.abs(rng.standard_normal(n_users)) + 0.1,
    )


def sweep(p: Problem, *, steps: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Run the kernel of sweeps over all rows."""
    target, losses = p.start.copy(), np.full(len(p.start), np.nan)
    improve_rows(
        *(0, len(target), p.rows.indptr, p.rows.indices, p.rows.weights, ALPHA, p.fixed, target, p.gram, p.moments),
        *(p.penalties, steps, *sweep_scratch(target.shape[1]), losses),
    )
    return target, losses


def solve(
    p: Problem, *, gram_rest: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
    """Run the kernel of exact solves over all rows."""
    n, d = p.start.shape
    target, losses, failed = p.start.copy(), np.full(n, np.nan), np.zeros(n, np.bool_)
    rest = np.zeros((d, d), np.float32) if gram_rest is None else gram_rest
    solve_rows_exactly(
        *(0, n, p.rows.indptr, p.rows.indices, p.rows.weights, ALPHA, p.fixed, target),
        *(p.gram.astype(np.float64), rest, p.moments, p.penalties, 1e-6, *exact_scratch(d), losses, failed),
    )
    return target, losses, failed


@pytest.mark.parametrize("d", [8, 24, 64])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_sweep_takes_the_steps_of_the_textbook(rng: np.random.Generator, d: int, steps: int) -> None:
    p = problem(rng, d=d)
    found, losses = sweep(p, steps=steps)
    assert p.rows.counts[0] == 0 and not found[0].any() and losses[0] == 0
    for row in range(1, len(found)):
        expected = p.improved(row, steps=steps)
        np.testing.assert_allclose(found[row], expected, atol=2e-4 * np.abs(expected).max())
        assert losses[row] == pytest.approx(p.objective(row, found[row]), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("d", [8, 64])
def test_an_exact_solve_reaches_its_residual(rng: np.random.Generator, d: int) -> None:
    p = problem(rng, d=d)
    # As a basis that float32 rounded leaves it, and more.
    rest = 1e-3 * rng.standard_normal((d, d)).astype(np.float32)
    rest += rest.T
    np.fill_diagonal(rest, 0)
    found, losses, failed = solve(p, gram_rest=rest)
    assert not failed.any() and not found[0].any() and losses[0] == 0
    for row in range(1, len(found)):
        A, b, total = p.system(row)
        A = A + rest
        w = np.linalg.solve(A + p.penalties[row] * np.eye(d), b)
        np.testing.assert_allclose(found[row], w, atol=1e-3 * np.abs(w).max())
        assert np.linalg.norm(b - A @ found[row] - p.penalties[row] * found[row]) < 2e-6 * np.linalg.norm(b)
        assert losses[row] == pytest.approx(
            found[row] @ A @ found[row] - 2 * b @ found[row] + total, rel=1e-5, abs=1e-5
        )


def test_a_row_that_float32_cannot_solve_is_named_and_left_as_it_was(rng: np.random.Generator) -> None:
    p = problem(rng, d=8)
    p.rows.weights[p.rows.indptr[3] : p.rows.indptr[4]] = np.inf
    found, _, failed = solve(p)
    assert np.flatnonzero(failed).tolist() == [3]
    assert np.array_equal(found[3], p.start[3])


def laid_out(shapes: list[tuple[int, ...]], *, gap: int, dtype: type[np.floating[Any]]) -> list[NDArray[Any]]:
    """Cut arrays out of one buffer, one after another with `gap` bytes between them."""
    size = np.dtype(dtype).itemsize
    sizes = [int(np.prod(shape)) * size for shape in shapes]
    buffer = np.zeros(sum(sizes) + gap * (len(shapes) + 1), dtype=np.uint8)
    starts = np.cumsum([gap, *(s + gap for s in sizes[:-1])])
    return [
        buffer[start : start + length].view(dtype).reshape(shape)
        for start, length, shape in zip(starts, sizes, shapes, strict=True)
    ]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("d", [8, 16, 64])
def test_neighbouring_memory_does_not_change_a_bit(rng: np.random.Generator, d: int, exact: bool) -> None:
    # Where an array ends just before another begins, a vectorized loop's test for overlap may fail; a first version
    # of the kernel then added in another order, and one training in six had other last bits.
    p = problem(rng, d=d)
    found = set()
    for gap, order in itertools.product((0, 8, 16, 24, 32, 64, 4096), itertools.permutations(range(2))):
        shapes = [p.fixed.shape, p.start.shape]
        factors = laid_out([shapes[i] for i in order], gap=gap, dtype=np.float32)
        fixed, target = (factors[order.index(i)] for i in range(2))
        fixed[:], target[:] = p.fixed, p.start
        losses, failed = np.zeros(len(target)), np.zeros(len(target), np.bool_)
        (vectors,) = laid_out([(7, d)], gap=gap, dtype=np.float32)
        (doubles,) = laid_out([(2, d)], gap=gap, dtype=np.float64)
        rest, rest_weights = np.zeros(8, np.int32), np.zeros(8, np.float32)
        shared = (0, len(target), p.rows.indptr, p.rows.indices, p.rows.weights, ALPHA, fixed, target)
        if exact:
            solve_rows_exactly(
                *(*shared, p.gram.astype(np.float64), np.zeros((d, d), np.float32), p.moments, p.penalties, 1e-6),
                *(vectors, doubles, rest, rest_weights, losses, failed),
            )
        else:
            improve_rows(
                *(*shared, p.gram, p.moments, p.penalties, 3, vectors[:5], rest, rest_weights, losses),
            )
        found.add((target.tobytes(), losses.tobytes()))
    assert len(found) == 1
