"""Small dense systems in kernels: symmetric matrices formed from rows, factored by Cholesky and solved.

All but the dot products adds multiples of rows to a row, element by element: that vectorizes as it stands, and the
order of the additions is the same on every processor. No loop both writes an array and adds up a sum. Only the upper
triangle of a matrix is formed and read.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel

BLOCK_ITEMS = 32
"""Items of a history that are gathered at once: a block of them stays in the second cache up to d = 4096."""

_PANEL_ROWS = 16
"""Rows of U that are subtracted from the rows below them in one pass."""


@kernel()
def add_rows(target, multiples, rows, start):  # type: ignore[no-untyped-def]
    """Add Σ_k multiples[k] rows[k] to `target` from column `start` on: one k after another, four to a pass."""
    whole = len(multiples) - len(multiples) % 4
    into = target[start:]
    for k in range(0, whole, 4):
        a, b, c, d = multiples[k], multiples[k + 1], multiples[k + 2], multiples[k + 3]
        first, second, third, fourth = rows[k, start:], rows[k + 1, start:], rows[k + 2, start:], rows[k + 3, start:]
        for f in range(len(into)):
            into[f] = (((into[f] + a * first[f]) + b * second[f]) + c * third[f]) + d * fourth[f]
    for k in range(whole, len(multiples)):
        a = multiples[k]
        first = rows[k, start:]
        for f in range(len(into)):
            into[f] += a * first[f]


@kernel()
def add_multiple(target, multiple, row):  # type: ignore[no-untyped-def]
    """Add multiple · row to `target`, as long as `target` is."""
    for f in range(len(target)):
        target[f] += multiple * row[f]


@kernel(reassociate=True)
def dot(v, w):  # type: ignore[no-untyped-def]
    """Return v · w, in float64."""
    total = 0.0
    for f in range(len(w)):
        total += v[f] * np.float64(w[f])
    return total


@kernel()
def form(indices, c, fp, h, gram, constant, penalty, block, A, b):  # type: ignore[no-untyped-def]
    """Fill the upper triangle of `A` with G + Σ_k c_k x_k x_kᵀ + ρ I, and `b` with g + Σ_k f_k p_k x_k.

    x_k are the factors of item `indices[k]`, with a 1 appended where `A` is larger by one; `block` is scratch,
    (`BLOCK_ITEMS`, m).
    """
    m = len(A)
    d = h.shape[1]
    multiples = np.empty(BLOCK_ITEMS)
    for i in range(m):
        A[i, i:] = gram[i, i:]
        A[i, i] += penalty
    b[:] = constant
    # Where users have a bias.
    block[:, d:] = 1.0
    for begin in range(0, len(indices), BLOCK_ITEMS):
        size = min(BLOCK_ITEMS, len(indices) - begin)
        in_matrix = False
        for k in range(size):
            x = block[k]
            item = h[indices[begin + k]]
            for f in range(d):
                x[f] = item[f]
            in_matrix |= c[begin + k] != 0.0
        # Where G holds every cell, nothing is left to add.
        if in_matrix:
            for i in range(m):
                for k in range(size):
                    multiples[k] = c[begin + k] * block[k, i]
                add_rows(A[i], multiples[:size], block, i)
        add_rows(b, fp[begin : begin + size], block, 0)


@kernel()
def factor(A):  # type: ignore[no-untyped-def]
    """Turn `A` into U; false where a pivot is not larger than what rounding may have left of nothing."""
    m = len(A)
    multiples = np.empty(_PANEL_ROWS)
    # A pivot is what a diagonal element keeps after the rows above are subtracted from it.
    least = np.empty(m)
    for i in range(m):
        least[i] = m * 2.220446049250313e-16 * A[i, i]
    for begin in range(0, m, _PANEL_ROWS):
        end = min(begin + _PANEL_ROWS, m)
        for k in range(begin, end):
            # Written so that NaN fails, too.
            if not (A[k, k] > least[k] and A[k, k] < np.inf):
                return False
            root = np.sqrt(A[k, k])
            row = A[k, k:]
            for f in range(len(row)):
                row[f] /= root
            for i in range(k + 1, end):
                multiples[0] = -A[k, i]
                add_rows(A[i], multiples[:1], A[k:], i)
        for i in range(end, m):
            for k in range(begin, end):
                multiples[k - begin] = -A[k, i]
            add_rows(A[i], multiples[: end - begin], A[begin:], i)
    return True


@kernel()
def solve(U, v):  # type: ignore[no-untyped-def]
    """Replace `v` by A⁻¹v, given A = UᵀU."""
    m = len(U)
    for k in range(m):
        v[k] /= U[k, k]
        solved = v[k]
        rest, row = v[k + 1 :], U[k, k + 1 :]
        for f in range(len(rest)):
            rest[f] -= solved * row[f]
    for k in range(m - 1, -1, -1):
        v[k] = (v[k] - dot(U[k, k + 1 :], v[k + 1 :])) / U[k, k]
