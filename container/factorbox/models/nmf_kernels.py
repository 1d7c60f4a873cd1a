"""The inner loops of non-negative factorization on the processor: products with the sparse matrix, and descent.

Given the other side's factors h_k, a row w of one side minimises, over w ≥ 0,

    ½ Σ_k (x_k − w·h_k)² + ½ λ |w|²

over all columns k, or over those where the row has an entry. One pass over its components in turn, each set to its
own minimum, is cyclic coordinate descent, known as HALS (Cichocki and Phan 2009); rows do not depend on each other.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import add_multiple, dot
from factorbox.models.non_negative_kernels import descend


@kernel()
def _row_times(indices, weights, matrix, out):  # type: ignore[no-untyped-def]
    """Set `out` to the sum of a row's entries times the rows of `matrix` that they stand for."""
    out[:] = 0.0
    whole = len(indices) - len(indices) % 4
    for k in range(0, whole, 4):
        a, b = np.float64(weights[k]), np.float64(weights[k + 1])
        c, d = np.float64(weights[k + 2]), np.float64(weights[k + 3])
        first, second = matrix[indices[k]], matrix[indices[k + 1]]
        third, fourth = matrix[indices[k + 2]], matrix[indices[k + 3]]
        for f in range(len(out)):
            out[f] = (((out[f] + a * first[f]) + b * second[f]) + c * third[f]) + d * fourth[f]
    for k in range(whole, len(indices)):
        a = np.float64(weights[k])
        first = matrix[indices[k]]
        for f in range(len(out)):
            out[f] += a * first[f]


@kernel()
def multiply_rows(start, stop, indptr, indices, weights, matrix, out):  # type: ignore[no-untyped-def]
    """Write rows `start:stop` of the product of a sparse matrix and a dense one to `out`, float64."""
    for row in range(start, stop):
        own = slice(indptr[row], indptr[row + 1])
        _row_times(indices[own], weights[own], matrix, out[row])


@kernel(reassociate=True)
def _squares(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(values)):
        total += np.float64(values[k]) * np.float64(values[k])
    return total


@kernel()
def descend_rows(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, weights, fixed, target, A, penalty, violations, losses
):
    """Improve rows `start:stop` of `target` by one pass, where every cell counts.

    Parameters
    ----------
    start, stop
        The range of rows.
    indptr, indices, weights
        The entries of the rows.
    fixed, target
        float64, (columns, d) and (rows, d).
    A
        HᵀH + λ I, (d, d), with H = `fixed`.
    penalty
        λ.
    violations, losses
        float64, (rows,): receive the sum of |projected gradient| and Σ_k (x_k − w·h_k)² of the new row.
    """
    d = fixed.shape[1]
    b = np.empty(d)
    gradient = np.empty(d)
    for row in range(start, stop):
        own = slice(indptr[row], indptr[row + 1])
        w = target[row]
        squares = _squares(weights[own])
        if squares == 0.0:
            # b = 0, so the minimum is w = 0.
            w[:] = 0.0
            violations[row] = 0.0
            losses[row] = 0.0
            continue
        _row_times(indices[own], weights[own], fixed, b)
        for f in range(d):
            gradient[f] = -b[f]
        for t in range(d):
            if w[t] != 0.0:
                add_multiple(gradient, w[t], A[t])
        violations[row], _ = descend(A, w, gradient)
        # wᵀHᵀH w − 2 bᵀw + Σx², with (HᵀH + λ I) w = gradient + b.
        losses[row] = squares + dot(gradient, w) - dot(b, w) - penalty * _squares(w)


@kernel()
def _gather(indices, fixed, columns):  # type: ignore[no-untyped-def]
    """Turn the factors of a row's entries on their side, so that one component's numbers stand in a row."""
    for k in range(len(indices)):
        h = fixed[indices[k]]
        for f in range(len(h)):
            columns[f, k] = h[f]


@kernel()
def descend_observed_rows(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, weights, fixed, target, penalty, columns, residuals, violations, losses
):
    """Improve rows `start:stop` of `target` by one pass, where the entries alone count.

    What is left of each entry, x_k − w·h_k, is kept up, so that a component costs one pass over it.

    Parameters
    ----------
    columns, residuals
        float64 scratch, (d, longest row) and (longest row,).
    start, stop, indptr, indices, weights, fixed, target, penalty, violations, losses
        See `descend_rows`.
    """
    d = fixed.shape[1]
    for row in range(start, stop):
        first = indptr[row]
        count = indptr[row + 1] - first
        w = target[row]
        own = slice(first, indptr[row + 1])
        if _squares(weights[own]) == 0.0:
            # As above.
            w[:] = 0.0
            violations[row] = 0.0
            losses[row] = 0.0
            continue
        _gather(indices[own], fixed, columns)
        e = residuals[:count]
        for k in range(count):
            e[k] = np.float64(weights[first + k])
        for t in range(d):
            if w[t] != 0.0:
                add_multiple(e, -w[t], columns[t])
        violation = 0.0
        for t in range(d):
            h = columns[t, :count]
            slope = penalty * w[t] - dot(e, h)
            if w[t] != 0.0 or slope < 0.0:
                violation += abs(slope)
                curvature = _squares(h) + penalty
                if curvature > 0.0:
                    new = max(w[t] - slope / curvature, 0.0)
                    add_multiple(e, w[t] - new, h)
                    w[t] = new
        violations[row] = violation
        losses[row] = _squares(e)
