"""The inner loops of fold-in: a user's m × m system formed, factored and solved.

With x_k the factors of item k, a 1 appended where users have a bias (m = d or d + 1), a history S and the
coefficients c_k, the system is A = G + Σ_{k∈S} c_k x_k x_kᵀ + ρ I, factored as A = UᵀU (Cholesky). Its right-hand side
is g + Σ_{k∈S} z_k x_k, with z_k = f_k p_k.

All but the dot products adds multiples of rows to a row, element by element: that vectorizes as it stands, and the
order of the additions, which is the order of the history, is the same on every processor. No loop both writes an
array and adds up a sum. Only the upper triangle of a matrix is formed and read.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel

BLOCK_ITEMS = 32
"""Items of a history that are gathered at once: a block of them stays in the second cache up to d = 4096."""

_PANEL_ROWS = 16
"""Rows of U that are subtracted from the rows below them in one pass."""

_RIDGE = 1e-8
"""What is added to the diagonal of a system that is not positive definite, relative to its largest element."""


@kernel()
def _add_rows(target, multiples, rows, start):  # type: ignore[no-untyped-def]
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


@kernel(reassociate=True)
def dot(v, w):  # type: ignore[no-untyped-def]
    """Return v · w in float64."""
    total = 0.0
    for f in range(len(w)):
        total += v[f] * np.float64(w[f])
    return total


@kernel()
def product(v, h):  # type: ignore[no-untyped-def]
    """Return v · x for the item with factors h; v is longer by one where users have a bias."""
    return dot(v, h) + (v[len(h)] if len(v) > len(h) else 0.0)


@kernel()
def _form(indices, c, z, h, gram, constant, penalty, block, A, b):  # type: ignore[no-untyped-def]
    """Fill the upper triangle of `A` with a user's system, and `b` with g + Σ_k z_k x_k."""
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
        for k in range(size):
            x = block[k]
            item = h[indices[begin + k]]
            for f in range(d):
                x[f] = item[f]
        for i in range(m):
            for k in range(size):
                multiples[k] = c[begin + k] * block[k, i]
            _add_rows(A[i], multiples[:size], block, i)
        _add_rows(b, z[begin : begin + size], block, 0)


@kernel()
def _factor(A):  # type: ignore[no-untyped-def]
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
                _add_rows(A[i], multiples[:1], A[k:], i)
        for i in range(end, m):
            for k in range(begin, end):
                multiples[k - begin] = -A[k, i]
            _add_rows(A[i], multiples[: end - begin], A[begin:], i)
    return True


@kernel()
def _hold(held, A, b):  # type: ignore[no-untyped-def]
    """Make 0 the solution for the unknowns that are held, and leave the others a system of their own."""
    for i in range(len(held)):
        if held[i]:
            A[:i, i] = 0.0
            A[i, i + 1 :] = 0.0
            A[i, i] = 1.0
            b[i] = 0.0


@kernel()
def form_and_factor(indices, c, z, h, gram, constant, penalty, held, block, A, b):  # type: ignore[no-untyped-def]
    """Form a user's system and factor it; false where that fails even with a small ridge.

    Without one a system may be singular: λ = 0 and α0 = 0 with fewer items than unknowns, or weights so large that
    all else is below their rounding. With it the solution is nearly the shortest of the possible ones.

    `held` says which unknowns are held at 0; it is empty where none is.
    """
    _form(indices, c, z, h, gram, constant, penalty, block, A, b)
    _hold(held, A, b)
    if _factor(A):
        return True
    _form(indices, c, z, h, gram, constant, penalty, block, A, b)
    largest = 0.0
    for i in range(len(A)):
        largest = max(largest, A[i, i])
    # Of a system that is all zeros the shortest solution is 0, whatever the ridge.
    ridge = _RIDGE * largest if largest > 0.0 else 1.0
    for i in range(len(A)):
        A[i, i] += ridge
    _hold(held, A, b)
    return _factor(A)


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


@kernel()
def solve_histories(indptr, indices, c, z, h, gram, constant, penalties, factors, biases):  # type: ignore[no-untyped-def]
    """Write the solution of each history to `factors` and, where users have a bias, `biases`.

    Parameters
    ----------
    indptr, indices
        The histories.
    c, z
        float64, (entries,): c_k and z_k of each item in a history.
    h
        float32, (items, d).
    gram, constant
        G and g, (m, m) and (m,).
    penalties
        ρ, (requests,).
    factors, biases
        float32, (requests, d) and (requests,).

    Returns
    -------
    int
        The first history whose system could not be factored, −1 if there is none.
    """
    m = len(gram)
    d = h.shape[1]
    A = np.empty((m, m))
    b = np.empty(m)
    block = np.empty((BLOCK_ITEMS, m))
    held = np.empty(0, dtype=np.bool_)
    for row in range(len(penalties)):
        own = slice(indptr[row], indptr[row + 1])
        if not form_and_factor(indices[own], c[own], z[own], h, gram, constant, penalties[row], held, block, A, b):
            return row
        solve(A, b)
        factors[row] = b[:d]
        biases[row] = b[d] if m > d else 0.0
    return -1
