"""The inner loops of fold-in: a user's m × m system formed, factored and solved.

With x_k the factors of item k, a 1 appended where users have a bias (m = d or d + 1), a history S and the
coefficients c_k, the system is A = G + Σ_{k∈S} c_k x_k x_kᵀ + ρ I, factored as A = UᵀU (Cholesky). Its right-hand side
is g + Σ_{k∈S} z_k x_k, with z_k = f_k p_k.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import BLOCK_ITEMS, dot, factor, form, solve

_RIDGE = 1e-8
"""What is added to the diagonal of a system that is not positive definite, relative to its largest element."""


@kernel()
def product(v, h):  # type: ignore[no-untyped-def]
    """Return v · x for the item with factors h; v is longer by one where users have a bias."""
    return dot(v, h) + (v[len(h)] if len(v) > len(h) else 0.0)


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
    form(indices, c, z, h, gram, constant, penalty, block, A, b)
    _hold(held, A, b)
    if factor(A):
        return True
    form(indices, c, z, h, gram, constant, penalty, block, A, b)
    largest = 0.0
    for i in range(len(A)):
        largest = max(largest, A[i, i])
    # Of a system that is all zeros the shortest solution is 0, whatever the ridge.
    ridge = _RIDGE * largest if largest > 0.0 else 1.0
    for i in range(len(A)):
        A[i, i] += ridge
    _hold(held, A, b)
    return factor(A)


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
