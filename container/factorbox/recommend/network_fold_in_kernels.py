"""The inner loops of a network's fold-in: Newton steps for a row, each history by itself and in a fixed order."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import BLOCK_ITEMS, dot, solve
from factorbox.recommend.row_kernels import form_and_factor

SQUARED = 0
LOGISTIC = 1
POISSON = 2

STEPS = 15
"""Most Newton steps."""
_HALVINGS = 8
"""A step is halved at most so often; at an edge, where a unit starts or stops to count, none may be short enough."""
_POISSON_HALVINGS = 200
"""With an exponential, a step towards a large count is many times too long: the length of one towards 1e38."""
_SUFFICIENT = 1e-4
"""Least share of the decrease promised by the slope (Armijo; Nocedal and Wright 2006, section 3.1)."""
_CONVERGED = 1e-4
"""The search ends where a step promises less than this share of the objective."""


@kernel()
def _loss(kind, x, y):  # type: ignore[no-untyped-def]
    """Return the loss of x̂ and its first two derivatives."""
    if kind == SQUARED:
        return 0.5 * (x - y) * (x - y), x - y, 1.0
    if kind == LOGISTIC:
        e = np.exp(-abs(x))
        mean = 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)
        return max(x, 0.0) + np.log1p(e) - y * x, mean - y, e / ((1.0 + e) * (1.0 + e))
    mean = np.exp(x)
    return mean - y * x, mean - y, mean


@kernel()
def _score(p, q, sizes, weights, biases, v, intercept, active):  # type: ignore[no-untyped-def]
    """Return x̂ and leave the activations of all layers, one after another, in `active`."""
    for f in range(len(p)):
        active[f] = max(p[f] + q[f], 0.0)
    begin, at = 0, 0
    for layer in range(1, len(sizes)):
        width = sizes[layer - 1]
        end = begin + width
        for g in range(sizes[layer]):
            z = dot(weights[at : at + width], active[begin:end]) + biases[end - sizes[0] + g]
            active[end + g] = max(z, 0.0)
            at += width
        begin = end
    return dot(v, active[begin : begin + sizes[-1]]) + intercept


@kernel()
def _gradient(sizes, weights, v, active, slopes, out):  # type: ignore[no-untyped-def]
    """Write ∂x̂/∂p to `out`, given the activations; `slopes` has the shape of `active`."""
    begin = len(active) - sizes[-1]
    for f in range(sizes[-1]):
        slopes[begin + f] = v[f] if active[begin + f] > 0.0 else 0.0
    at = len(weights)
    for layer in range(len(sizes) - 1, 0, -1):
        width = sizes[layer - 1]
        before = begin - width
        into = slopes[before:begin]
        into[:] = 0.0
        at -= sizes[layer] * width
        for g in range(sizes[layer]):
            slope = slopes[begin + g]
            if slope != 0.0:
                row = weights[at + g * width : at + (g + 1) * width]
                for f in range(width):
                    into[f] += slope * row[f]
        for f in range(width):
            if active[before + f] <= 0.0:
                into[f] = 0.0
        begin = before
    out[:] = slopes[: len(out)]


@kernel()
def _objective(p, h, items, targets, entry_weights, sizes, weights, biases, v, intercept, kind, prior, active):  # type: ignore[no-untyped-def]
    """Return the objective; `prior` holds m and τ."""
    total = 0.0
    for k in range(len(items)):
        x = _score(p, h[items[k]], sizes, weights, biases, v, intercept, active)
        total += entry_weights[k] * _loss(kind, x, targets[k])[0]
    for f in range(len(p)):
        total += 0.5 * prior[1, f] * (p[f] - prior[0, f]) * (p[f] - prior[0, f])
    return total


@kernel()
def _entries(history, values, sample, negatives, items, targets, entry_weights):  # type: ignore[no-untyped-def]
    """List a history and, as 0s, the sampled items outside it; both ascend. Return how many there are."""
    size = len(history)
    for k in range(size):
        items[k], targets[k], entry_weights[k] = history[k], values[k], 1.0
    k = 0
    for item in sample:
        while k < len(history) and history[k] < item:
            k += 1
        if k == len(history) or history[k] != item:
            items[size], targets[size] = item, 0.0
            size += 1
    for n in range(len(history), size):
        entry_weights[n] = negatives * len(history) / (size - len(history))
    return size


@kernel()
def fold_in_rows(  # type: ignore[no-untyped-def]
    indptr, indices, values, sample, negatives, h, sizes, weights, biases, v, intercept, kind, prior, factors
):
    """Write the row of each history to `factors`.

    Parameters
    ----------
    indptr, indices, values
        The histories, and what is fitted for each item, float64.
    sample, negatives
        int32: the items that stand for those not seen, ascending, and what they weigh together, per item of a history.
    h
        float32, (items, h1).
    sizes, weights, biases, v, intercept
        The network in float64, μ in the intercept; the first bias is in `prior`.
    kind
        The loss.
    prior
        float64, (2, h1): m + c_1 and τ, so that the row that is sought has c_1 added.
    factors
        float32, (requests, h1): the rows, with c_1 added.

    Returns
    -------
    int
        The first history that could not be solved, −1 if there is none.
    """
    d = h.shape[1]
    longest = 0
    for row in range(len(factors)):
        longest = max(longest, indptr[row + 1] - indptr[row])
    longest += len(sample)
    items = np.empty(longest, dtype=np.int32)
    order = np.arange(longest).astype(np.int32)
    targets, entry_weights = np.empty(longest), np.empty(longest)
    curvatures, pulls = np.empty(longest), np.empty(longest)
    gradients = np.empty((longest, d))
    active, slopes = np.empty(np.sum(sizes)), np.empty(np.sum(sizes))
    A, step, block = np.empty((d, d)), np.empty(d), np.empty((BLOCK_ITEMS, d))
    precision, constant, downhill = np.diag(prior[1]), np.empty(d), np.empty(d)
    held = np.empty(0, dtype=np.bool_)
    p, moved = np.empty(d), np.empty(d)
    for row in range(len(factors)):
        own = slice(indptr[row], indptr[row + 1])
        size = _entries(indices[own], values[own], sample, negatives, items, targets, entry_weights)
        some, some_targets, some_weights = items[:size], targets[:size], entry_weights[:size]
        p[:] = prior[0]
        if len(indices[own]) > 0:
            value = _objective(
                p, h, some, some_targets, some_weights, sizes, weights, biases, v, intercept, kind, prior, active
            )
            for _ in range(STEPS):
                for k in range(size):
                    x = _score(p, h[items[k]], sizes, weights, biases, v, intercept, active)
                    _, first, second = _loss(kind, x, targets[k])
                    _gradient(sizes, weights, v, active, slopes, gradients[k])
                    curvatures[k], pulls[k] = entry_weights[k] * second, -entry_weights[k] * first
                for f in range(d):
                    constant[f] = prior[1, f] * (prior[0, f] - p[f])
                    downhill[f] = constant[f]
                for k in range(size):
                    pull, towards = pulls[k], gradients[k]
                    for f in range(d):
                        downhill[f] += pull * towards[f]
                # (T + Σ_k w loss'' ∇x̂ ∇x̂ᵀ) δ = τ (m − p) − Σ_k w loss' ∇x̂
                if not form_and_factor(
                    order[:size], curvatures, pulls, gradients, precision, constant, 0.0, held, block, A, step
                ):
                    return row
                solve(A, step)
                promised = dot(downhill, step)
                if not promised > _CONVERGED * abs(value):
                    break
                length, improved = 1.0, False
                for _ in range(_POISSON_HALVINGS if kind == POISSON else _HALVINGS):
                    for f in range(d):
                        moved[f] = p[f] + length * step[f]
                    other = _objective(
                        moved,
                        h,
                        some,
                        some_targets,
                        some_weights,
                        sizes,
                        weights,
                        biases,
                        v,
                        intercept,
                        kind,
                        prior,
                        active,
                    )
                    if other <= value - _SUFFICIENT * length * promised:
                        improved = True
                        break
                    length *= 0.5
                if not improved:
                    break
                p[:] = moved
                value = other
        factors[row] = p
    return -1
