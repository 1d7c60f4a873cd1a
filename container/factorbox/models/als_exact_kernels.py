"""ALS rows solved to a small residual: float32 conjugate gradients, corrected by residuals in float64.

Iterative refinement (Wilkinson 1963): with the residual r = b − A w in float64, A δ = r need be solved only roughly,
which takes nearly all the time and is as fast as a sweep; w + δ then has a residual smaller by what the rough solve
reached. A, b and the passes over a history are those of `factorbox.models.als_kernels`.
"""

from __future__ import annotations

import math

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.als_kernels import (
    AHEAD,
    confidences,
    element,
    fill_rest,
    product,
    total_confidence,
)
from factorbox.models.vector_instructions import (
    add,
    address_of,
    divide,
    lane_sum,
    load,
    load_double,
    multiply,
    multiply_add,
    narrowed,
    splat,
    store,
    subtract,
    widened,
)
from factorbox.models.vector_kernels import add_eight, add_four_residuals, eight_rows, prefetch_eight_rows

_ROUNDS = 20
"""Residuals in float64 that a row may take."""

_STEPS = 200
"""Conjugate-gradient steps that a row may take for each of them."""

_ROUGH = 2e-6
"""Relative residual that float32 can be trusted to reach."""


@kernel()
def solve_rows_exactly(  # type: ignore[no-untyped-def]
    start,
    stop,
    indptr,
    indices,
    weights,
    alpha,
    fixed,
    target,
    gram,
    gram_rest,
    moments,
    penalties,
    tolerance,
    vectors,
    doubles,
    rest,
    rest_weights,
    losses,
    failed,
):
    """Solve rows `start:stop` until |b − A w| ≤ `tolerance` |b|, starting from what stands in `target`.

    Parameters
    ----------
    start, stop, indptr, indices, weights, alpha, fixed, target, moments, penalties, rest, rest_weights, losses
        As for `improve_rows`.
    gram
        Diagonal of α0 HᵀH, float64, (d,).
    gram_rest
        α0 HᵀH without its diagonal, float32, (d, d); next to nothing in the basis that makes it diagonal.
    tolerance
        The residual to reach.
    vectors, doubles
        Scratch: float32, (7, d), and float64, (2, d).
    failed
        bool, (rows,): receives whether a row did not get there; such rows are left as they were.
    """
    bytes_ = np.int64(4 * fixed.shape[1])
    table, G, G_rest, m = address_of(fixed), address_of(gram), address_of(gram_rest), address_of(moments)
    r = address_of(vectors)
    p, Ap, diagonal = r + bytes_, r + 2 * bytes_, r + 3 * bytes_
    δ, b, single = r + 4 * bytes_, r + 5 * bytes_, r + 6 * bytes_
    w = address_of(doubles)
    exact_r = w + 2 * bytes_
    last_eight = address_of(indices) + 4 * (np.int64(len(indices)) - 8)
    rest_at, rest_c = address_of(rest), address_of(rest_weights)
    α = splat(np.float64(alpha))
    zero = splat(np.float32(0.0))
    for row in range(start, stop):
        start_at = address_of(target) + row * bytes_
        failed[row] = False
        if indptr[row + 1] == indptr[row]:
            # b = 0, so the minimum is w = 0.
            for f in range(0, bytes_, 32):
                store(start_at + f, zero)
            losses[row] = 0.0
            continue
        left = fill_rest(indices, weights, indptr[row], indptr[row + 1], rest, rest_weights)
        at, at_end = element(indices, indptr[row]), element(indices, indptr[row + 1] - left)
        to_weight = element(weights, indptr[row]) - at
        confidence = splat(np.float32(total_confidence(at + to_weight, at_end + to_weight, rest_c, α)))
        ρ = splat(np.float64(penalties[row]))
        for f in range(0, bytes_, 32):
            own = narrowed(add(load_double(G + 2 * f), ρ))
            store(w + 2 * f, widened(load(start_at + f)))
            store(diagonal + f, multiply_add(confidence, load(m + f), own))
            store(b + f, zero)
        for k in range(at, at_end, 32):
            prefetch_eight_rows(table, bytes_, min(k + AHEAD, last_eight))
            add_eight(eight_rows(table, bytes_, k), confidences(k + to_weight, α), b, bytes_)
        if left:
            add_eight(eight_rows(table, bytes_, rest_at), confidences(rest_c, α), b, bytes_)
        bb = 0.0
        for f in range(0, bytes_, 32):
            wide = widened(load(b + f))
            bb += lane_sum(multiply(wide, wide))
        limit = tolerance * tolerance * bb
        previous = np.inf
        failed[row] = True
        for _ in range(_ROUNDS):
            # r = b − A w and the objective, in float64.
            for f in range(0, bytes_, 32):
                store(single + f, narrowed(load_double(w + 2 * f)))
            _times(G_rest, single, Ap, bytes_)
            loss = 0.0
            for f in range(0, bytes_, 32):
                own = load_double(w + 2 * f)
                Gw = multiply_add(load_double(G + 2 * f), own, widened(load(Ap + f)))
                loss += lane_sum(multiply(own, Gw))
                store(exact_r + 2 * f, subtract(splat(0.0), multiply_add(ρ, own, Gw)))
            for k in range(at, at_end, 32):
                at_weights = indptr[row] + (k - at) // 4
                loss += _residual(table, bytes_, k, weights, at_weights, alpha, w, exact_r)
            if left:
                loss += _residual(table, bytes_, rest_at, rest_weights, 0, alpha, w, exact_r)
            rr = 0.0
            for f in range(0, bytes_, 32):
                rr += lane_sum(multiply(load_double(exact_r + 2 * f), load_double(exact_r + 2 * f)))
            if rr <= limit < np.inf:
                failed[row] = False
                break
            if not rr < 0.25 * previous:
                break
            previous = rr
            # A δ = r / |r| roughly: of length 1, since the squares of a small residual may be too small for float32.
            length = math.sqrt(rr)
            for f in range(0, bytes_, 32):
                store(r + f, narrowed(multiply(load_double(exact_r + 2 * f), splat(1.0 / length))))
                store(δ + f, zero)
            rough = max(0.25 * limit / rr, _ROUGH * _ROUGH)
            rz = 0.0
            for f in range(0, bytes_, 32):
                z = divide(load(r + f), load(diagonal + f))
                store(p + f, z)
                rz += lane_sum(multiply(load(r + f), z))
            for _ in range(_STEPS):
                pAp = 0.0
                for f in range(0, bytes_, 32):
                    own = multiply(narrowed(add(load_double(G + 2 * f), ρ)), load(p + f))
                    store(Ap + f, own)
                    pAp += lane_sum(multiply(own, load(p + f)))
                for k in range(at, at_end, 32):
                    pAp += product(table, bytes_, k, confidences(k + to_weight, α), p, Ap)
                if left:
                    pAp += product(table, bytes_, rest_at, confidences(rest_c, α), p, Ap)
                if not pAp > 0.0:
                    break
                a = splat(np.float32(rz / pAp))
                new_rz, left_over = 0.0, 0.0
                for f in range(0, bytes_, 32):
                    store(δ + f, multiply_add(a, load(p + f), load(δ + f)))
                    residual = subtract(load(r + f), multiply(a, load(Ap + f)))
                    z = divide(residual, load(diagonal + f))
                    store(r + f, residual)
                    new_rz += lane_sum(multiply(residual, z))
                    left_over += lane_sum(multiply(residual, residual))
                if left_over <= rough:
                    break
                β = splat(np.float32(new_rz / rz))
                rz = new_rz
                for f in range(0, bytes_, 32):
                    store(p + f, multiply_add(β, load(p + f), divide(load(r + f), load(diagonal + f))))
            for f in range(0, bytes_, 32):
                step = multiply(widened(load(δ + f)), splat(length))
                store(w + 2 * f, add(load_double(w + 2 * f), step))
        if not failed[row]:
            for f in range(0, bytes_, 32):
                store(start_at + f, narrowed(load_double(w + 2 * f)))
            losses[row] = loss


@kernel()
def _times(matrix, vector, product, bytes_):  # type: ignore[no-untyped-def]
    """Write Mᵀ v for a matrix of d rows to the vector at `product`."""
    for f in range(0, bytes_, 32):
        store(product + f, splat(np.float32(0.0)))
    for f in range(0, bytes_, 32):
        first = matrix + (f // 4) * bytes_
        rows = (
            first,
            first + bytes_,
            first + 2 * bytes_,
            first + 3 * bytes_,
            first + 4 * bytes_,
            first + 5 * bytes_,
            first + 6 * bytes_,
            first + 7 * bytes_,
        )
        add_eight(rows, load(vector + f), product, bytes_)


@kernel()
def _residual(table, bytes_, at, weights, first, alpha, w, r):  # type: ignore[no-untyped-def]
    """Add Σ c (1 − h·w) h over eight entries to r; return Σ c (1 − h·w)²; all in float64."""
    h = eight_rows(table, bytes_, at)
    c0, c1, c2, c3 = weights[first], weights[first + 1], weights[first + 2], weights[first + 3]
    c4, c5, c6, c7 = weights[first + 4], weights[first + 5], weights[first + 6], weights[first + 7]
    of_four = add_four_residuals(h[0], h[1], h[2], h[3], alpha * c0, alpha * c1, alpha * c2, alpha * c3, w, r, bytes_)
    return of_four + add_four_residuals(
        h[4], h[5], h[6], h[7], alpha * c4, alpha * c5, alpha * c6, alpha * c7, w, r, bytes_
    )


def exact_scratch(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Allocate the working memory that one thread needs for `solve_rows_exactly`."""
    return (
        np.zeros((7, width), np.float32),
        np.zeros((2, width), np.float64),
        np.zeros(8, np.int32),
        np.zeros(8, np.float32),
    )
