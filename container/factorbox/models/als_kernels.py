"""One sweep of ALS over some rows: a few steps of preconditioned conjugate gradients for each row's linear system.

For a row with history S, confidences c and the other side's factors h_k the normal equations are

    A w = b,   A = α0 HᵀH + Σ_{k∈S} c_k h_k h_kᵀ + ρ I,   b = Σ_{k∈S} c_k h_k

(Hu, Koren, Volinsky 2008, equation 4, with Rendle et al. 2022's unobserved weight α0 and row penalty ρ). A is never
formed, and the history is never copied: a pass over it reads the rows of the table of factors where they are, eight at
a time and asked for ahead of time, since most of the time of a sweep is waiting for them. After the first pass a
short history is in the cache. The basis is chosen by the caller so that HᵀH is diagonal.

Fewer passes than the textbook has: b itself is never needed, and of the last step only its length pᵀAp, which is
Σ c (h·p)² and takes no second half of a pass.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.vector_instructions import (
    add,
    address_of,
    divide,
    lane_sum,
    load,
    multiply,
    multiply_add,
    narrowed,
    splat,
    store,
    subtract,
    widened,
)
from factorbox.models.vector_kernels import add_eight, eight_dots, eight_rows, prefetch_eight_rows

AHEAD = 96
"""How far ahead rows are asked for, in bytes of their indices: three times eight rows (measured)."""


@kernel()
def improve_rows(  # type: ignore[no-untyped-def]
    start,
    stop,
    indptr,
    indices,
    weights,
    alpha,
    fixed,
    target,
    gram,
    moments,
    penalties,
    steps,
    vectors,
    rest,
    rest_weights,
    losses,
):
    """Improve rows `start:stop` of `target` in place, starting from what stands there.

    Parameters
    ----------
    start, stop
        The range of rows.
    indptr, indices, weights
        The interactions of the rows, and the weight of each; confidence is `alpha * weight`.
    fixed, target
        float32, (columns, d) and (rows, d), d a multiple of 8.
    gram
        Diagonal of α0 HᵀH, float32, (d,).
    moments
        Mean square of each factor over the entries of all rows, float32, (d,). Times the sum of a row's confidences
        it stands for the diagonal of Σ c h hᵀ in the preconditioner, which need not be exact.
    penalties
        ρ of each row, float64, (rows,).
    steps
        Conjugate-gradient steps, at least 1.
    vectors, rest, rest_weights
        Scratch: float32, (5, d); int32, (8,); float32, (8,).
    losses
        float64, (rows,): receives Σ_{k∈S} c_k (1 − w·h_k)² + α0 |H w|² of the new row.
    """
    bytes_ = np.int64(4 * fixed.shape[1])
    table, G, m = address_of(fixed), address_of(gram), address_of(moments)
    r = address_of(vectors)
    z, p, Ap, diagonal = r + bytes_, r + 2 * bytes_, r + 3 * bytes_, r + 4 * bytes_
    last_eight = address_of(indices) + 4 * (np.int64(len(indices)) - 8)
    rest_at, rest_c = address_of(rest), address_of(rest_weights)
    α = splat(np.float64(alpha))
    one, zero = splat(np.float32(1.0)), splat(np.float32(0.0))
    for row in range(start, stop):
        w = address_of(target) + row * bytes_
        count = indptr[row + 1] - indptr[row]
        if count == 0:
            # b = 0, so the minimum is w = 0.
            for f in range(0, bytes_, 32):
                store(w + f, zero)
            losses[row] = 0.0
            continue
        left = fill_rest(indices, weights, indptr[row], indptr[row + 1], rest, rest_weights)
        at, at_end = element(indices, indptr[row]), element(indices, indptr[row + 1] - left)
        # From the address of an index to that of its weight.
        to_weight = element(weights, indptr[row]) - at
        total = total_confidence(at + to_weight, at_end + to_weight, rest_c, α)
        # The objective of the row as it is, and r = b − A w.
        ρ, confidence = splat(np.float32(penalties[row])), splat(np.float32(total))
        loss = 0.0
        for f in range(0, bytes_, 32):
            own = add(load(G + f), ρ)
            Aw = multiply(own, load(w + f))
            store(r + f, subtract(zero, Aw))
            store(diagonal + f, multiply_add(confidence, load(m + f), own))
            loss += lane_sum(multiply(Aw, load(w + f)))
        for k in range(at, at_end, 32):
            prefetch_eight_rows(table, bytes_, min(k + AHEAD, last_eight))
            loss += _residual(table, bytes_, k, confidences(k + to_weight, α), w, r, one)
        if left:
            loss += _residual(table, bytes_, rest_at, confidences(rest_c, α), w, r, one)
        rz = 0.0
        for f in range(0, bytes_, 32):
            preconditioned = divide(load(r + f), load(diagonal + f))
            store(p + f, preconditioned)
            rz += lane_sum(multiply(load(r + f), preconditioned))
        for step in range(1, steps + 1):
            pAp = 0.0
            for f in range(0, bytes_, 32):
                own = multiply(add(load(G + f), ρ), load(p + f))
                store(Ap + f, own)
                pAp += lane_sum(multiply(own, load(p + f)))
            if step < steps:
                for k in range(at, at_end, 32):
                    pAp += product(table, bytes_, k, confidences(k + to_weight, α), p, Ap)
                if left:
                    pAp += product(table, bytes_, rest_at, confidences(rest_c, α), p, Ap)
            else:
                for k in range(at, at_end, 32):
                    pAp += _length(table, bytes_, k, confidences(k + to_weight, α), p)
                if left:
                    pAp += _length(table, bytes_, rest_at, confidences(rest_c, α), p)
            if not pAp > 0.0:
                break
            loss -= rz * rz / pAp
            a = splat(np.float32(rz / pAp))
            for f in range(0, bytes_, 32):
                store(w + f, multiply_add(a, load(p + f), load(w + f)))
            if step == steps:
                break
            new_rz = 0.0
            for f in range(0, bytes_, 32):
                residual = subtract(load(r + f), multiply(a, load(Ap + f)))
                preconditioned = divide(residual, load(diagonal + f))
                store(r + f, residual)
                store(z + f, preconditioned)
                new_rz += lane_sum(multiply(residual, preconditioned))
            β = splat(np.float32(new_rz / rz))
            rz = new_rz
            for f in range(0, bytes_, 32):
                store(p + f, multiply_add(β, load(p + f), load(z + f)))
        squares = 0.0
        for f in range(0, bytes_, 32):
            squares += lane_sum(multiply(load(w + f), load(w + f)))
        losses[row] = loss - penalties[row] * squares


@kernel()
def element(array, index):  # type: ignore[no-untyped-def]
    """Return where an element of an array of four-byte numbers lies."""
    return address_of(array) + 4 * np.int64(index)


@kernel()
def fill_rest(indices, weights, first, end, rest, rest_weights):  # type: ignore[no-untyped-def]
    """Copy what is left of a row after its last whole eight, filled up with weights of 0; return how many are left."""
    left = (end - first) % 8
    for j in range(left):
        rest[j] = indices[end - left + j]
        rest_weights[j] = weights[end - left + j]
    for j in range(left, 8):
        rest[j] = indices[first]
        rest_weights[j] = np.float32(0.0)
    return left


@kernel()
def confidences(at, α):  # type: ignore[no-untyped-def]
    """Return alpha · weight of eight entries, rounded once."""
    return narrowed(multiply(widened(load(at)), α))


@kernel()
def total_confidence(at, end, rest, α):  # type: ignore[no-untyped-def]
    """Return the sum of a row's confidences."""
    total = multiply(widened(load(rest)), α)
    for k in range(at, end, 32):
        total = multiply_add(widened(load(k)), α, total)
    return lane_sum(total)


@kernel()
def _residual(table, bytes_, at, c, w, r, one):  # type: ignore[no-untyped-def]
    """Add Σ c (1 − h·w) h over eight entries to r; return Σ c (1 − h·w)²."""
    h = eight_rows(table, bytes_, at)
    error = subtract(one, eight_dots(h, w, bytes_))
    weighted = multiply(c, error)
    add_eight(h, weighted, r, bytes_)
    return lane_sum(multiply(weighted, error))


@kernel()
def product(table, bytes_, at, c, p, Ap):  # type: ignore[no-untyped-def]
    """Add Σ c (h·p) h over eight entries to Ap; return Σ c (h·p)²."""
    h = eight_rows(table, bytes_, at)
    scores = eight_dots(h, p, bytes_)
    weighted = multiply(c, scores)
    add_eight(h, weighted, Ap, bytes_)
    return lane_sum(multiply(weighted, scores))


@kernel()
def _length(table, bytes_, at, c, p):  # type: ignore[no-untyped-def]
    """Return Σ c (h·p)² over eight entries."""
    scores = eight_dots(eight_rows(table, bytes_, at), p, bytes_)
    return lane_sum(multiply(multiply(c, scores), scores))


def sweep_scratch(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Allocate the working memory that one thread needs for `improve_rows`."""
    return np.zeros((5, width), np.float32), np.zeros(8, np.int32), np.zeros(8, np.float32)
