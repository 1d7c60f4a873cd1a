"""The inner loops of fold-in for losses that are not squared: Newton steps with halving, one history at a time.

A Newton step is the solution of the least-squares system with the working weights and values at the present row
(`factorbox.models.row_system.RowSystem`): it is solved by the kernels of the squared loss.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import BLOCK_ITEMS, dot, solve
from factorbox.recommend.row_kernels import form_and_factor, product

_STEPS = 100
"""Most Newton steps; it takes more than 20 only where nothing but a ridge keeps the row finite."""

_HALVINGS = 200
"""Most halvings of a step: enough for a count of 1e38 that a row of zeros expects to be 1."""

_CLOSE = 1e-7
"""A step of this size relative to the row is the last: the error after it is of the order of its square."""


@kernel()
def _curve(poisson, ratings, fitted, slopes, c):  # type: ignore[no-untyped-def]
    """Write loss' and loss'' at each fitted x̂."""
    for k in range(len(fitted)):
        # exp of what is not positive: never infinite.
        e = np.exp(-np.abs(fitted[k]))
        mean = 1.0 / (1.0 + e) if fitted[k] >= 0.0 else e / (1.0 + e)
        c[k] = np.exp(fitted[k]) if poisson else mean * (1.0 - mean)
        slopes[k] = (c[k] if poisson else mean) - ratings[k]


@kernel()
def _losses(poisson, ratings, fitted):  # type: ignore[no-untyped-def]
    """Return Σ_k loss(r_k, x̂_k)."""
    total = 0.0
    for k in range(len(fitted)):
        x = fitted[k]
        log_partition = np.exp(x) if poisson else max(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
        total += log_partition - ratings[k] * x
    return total


@kernel()
def _constant_part(v, gram, constant, penalty):  # type: ignore[no-untyped-def]
    """Return ½ vᵀ (G + ρ I) v − g·v."""
    total = 0.0
    for i in range(len(v)):
        total += v[i] * (0.5 * (dot(gram[i], v) + penalty * v[i]) - constant[i])
    return total


@kernel()
def _descend(poisson, ratings, gram, constant, penalty, v, step, fitted, moved, trial, tried):  # type: ignore[no-untyped-def]
    """Move `v` by `step`, halved until the objective falls; false where it never does.

    `fitted` holds x̂ at `v`, `moved` what the whole step adds to it.
    """
    before = _losses(poisson, ratings, fitted) + _constant_part(v, gram, constant, penalty)
    share = 1.0
    for _ in range(_HALVINGS):
        for i in range(len(v)):
            trial[i] = v[i] + share * step[i]
        for k in range(len(fitted)):
            tried[k] = fitted[k] + share * moved[k]
        if _losses(poisson, ratings, tried) + _constant_part(trial, gram, constant, penalty) < before:
            v[:] = trial
            return True
        share *= 0.5
    return False


@kernel()
def solve_reweighted(  # type: ignore[no-untyped-def]
    poisson, indptr, indices, ratings, shifts, h, gram, constant, penalties, factors, biases, c, z
):
    """Write the row of each history that minimises the logistic or the Poisson loss, and what it was solved with.

    Parameters
    ----------
    poisson
        Whether the loss is exp(x̂) − r x̂; otherwise it is log(1 + exp(x̂)) − r x̂.
    indptr, indices
        The histories.
    ratings, shifts
        float64, (entries,): r_k, and t_k, so that x̂_k = x_k·v − t_k.
    h
        float32, (items, d).
    gram, constant
        G and g, (m, m) and (m,).
    penalties
        ρ, (requests,).
    factors, biases
        float32, (requests, d) and (requests,).
    c, z
        float64, (entries,): the working weights at the solution, and times them the working values for the factors
        alone: c_k h_k·w − loss'(x̂_k).

    Returns
    -------
    int
        The first history whose system could not be factored, −1 if there is none.
    """
    m = len(gram)
    d = h.shape[1]
    A = np.empty((m, m))
    b = np.empty(m)
    v = np.empty(m)
    trial = np.empty(m)
    block = np.empty((BLOCK_ITEMS, m))
    held = np.empty(0, dtype=np.bool_)
    longest = 0
    for row in range(len(penalties)):
        longest = max(longest, indptr[row + 1] - indptr[row])
    all_fitted = np.empty(longest)
    all_slopes = np.empty(longest)
    all_moved = np.empty(longest)
    for row in range(len(penalties)):
        own = slice(indptr[row], indptr[row + 1])
        n = indptr[row + 1] - indptr[row]
        items, r, t, c_own, z_own = indices[own], ratings[own], shifts[own], c[own], z[own]
        fitted, slopes, moved = all_fitted[:n], all_slopes[:n], all_moved[:n]
        v[:] = 0.0
        for _ in range(_STEPS):
            for k in range(n):
                fitted[k] = product(v, h[items[k]]) - t[k]
            _curve(poisson, r, fitted, slopes, c_own)
            for k in range(n):
                z_own[k] = c_own[k] * (fitted[k] + t[k]) - slopes[k]
            if not form_and_factor(items, c_own, z_own, h, gram, constant, penalties[row], held, block, A, b):
                return row
            solve(A, b)
            largest = 0.0
            furthest = 0.0
            for i in range(m):
                largest = max(largest, np.abs(b[i]))
                furthest = max(furthest, np.abs(b[i] - v[i]))
            if furthest <= _CLOSE * largest:
                v[:] = b
                break
            for i in range(m):
                b[i] -= v[i]
            for k in range(n):
                moved[k] = product(b, h[items[k]])
            # The slopes have served: their place is free.
            if not _descend(poisson, r, gram, constant, penalties[row], v, b, fitted, moved, trial, slopes):
                # The objective is flat to its last digits.
                break
        for k in range(n):
            fitted[k] = product(v, h[items[k]]) - t[k]
        _curve(poisson, r, fitted, slopes, c_own)
        bias = v[d] if m > d else 0.0
        for k in range(n):
            z_own[k] = c_own[k] * (fitted[k] + t[k] - bias) - slopes[k]
        factors[row] = v[:d]
        biases[row] = bias
    return -1
