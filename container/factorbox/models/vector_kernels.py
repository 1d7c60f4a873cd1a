"""Loops over eight rows of a table of float32 at once, of which the kernels of ALS are made.

A row is a multiple of 32 bytes. Eight rows share every read of the vector that they are multiplied with.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.vector_instructions import (
    add,
    index_at,
    lane_sum,
    lane_sums,
    load,
    load_double,
    multiply,
    multiply_add,
    prefetch,
    repeat,
    splat,
    store,
    widened,
)


@kernel()
def eight_rows(table, row_bytes, at):  # type: ignore[no-untyped-def]
    """Return where eight rows of a table begin, given the address of their indices."""
    return (
        table + index_at(at) * row_bytes,
        table + index_at(at + 4) * row_bytes,
        table + index_at(at + 8) * row_bytes,
        table + index_at(at + 12) * row_bytes,
        table + index_at(at + 16) * row_bytes,
        table + index_at(at + 20) * row_bytes,
        table + index_at(at + 24) * row_bytes,
        table + index_at(at + 28) * row_bytes,
    )


@kernel()
def prefetch_eight_rows(table, row_bytes, at):  # type: ignore[no-untyped-def]
    """Ask for every cache line of eight rows of a table, given the address of their indices."""
    for j in range(0, 32, 4):
        row = table + index_at(at + j) * row_bytes
        for f in range(0, row_bytes, 64):
            prefetch(row + f)


@kernel()
def eight_dots(h, vector, row_bytes):  # type: ignore[no-untyped-def]
    """Return h_j · v of eight rows that begin at the addresses `h`, one in each lane."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = splat(np.float32(0.0))
    for f in range(0, row_bytes, 32):
        v = load(vector + f)
        a0 = multiply_add(load(h[0] + f), v, a0)
        a1 = multiply_add(load(h[1] + f), v, a1)
        a2 = multiply_add(load(h[2] + f), v, a2)
        a3 = multiply_add(load(h[3] + f), v, a3)
        a4 = multiply_add(load(h[4] + f), v, a4)
        a5 = multiply_add(load(h[5] + f), v, a5)
        a6 = multiply_add(load(h[6] + f), v, a6)
        a7 = multiply_add(load(h[7] + f), v, a7)
    return lane_sums(a0, a1, a2, a3, a4, a5, a6, a7)


@kernel()
def add_eight(h, factors, total, row_bytes):  # type: ignore[no-untyped-def]
    """Add Σ_j s_j h_j to the vector at `total`, with one s_j in each lane of `factors`."""
    s0, s1, s2, s3 = repeat(factors, 0), repeat(factors, 1), repeat(factors, 2), repeat(factors, 3)
    s4, s5, s6, s7 = repeat(factors, 4), repeat(factors, 5), repeat(factors, 6), repeat(factors, 7)
    for f in range(0, row_bytes, 32):
        # Two sums: neither waits for the other.
        x = multiply_add(load(h[0] + f), s0, load(total + f))
        y = multiply(load(h[1] + f), s1)
        x = multiply_add(load(h[2] + f), s2, x)
        y = multiply_add(load(h[3] + f), s3, y)
        x = multiply_add(load(h[4] + f), s4, x)
        y = multiply_add(load(h[5] + f), s5, y)
        x = multiply_add(load(h[6] + f), s6, x)
        y = multiply_add(load(h[7] + f), s7, y)
        store(total + f, add(x, y))


@kernel()
def add_four_residuals(h0, h1, h2, h3, c0, c1, c2, c3, vector, total, row_bytes):  # type: ignore[no-untyped-def]
    """Add Σ_j c_j (1 − h_j·v) h_j to the vector at `total` and return Σ_j c_j (1 − h_j·v)².

    v, total and all sums are float64, and twice as many bytes as a row.
    """
    a0 = a1 = a2 = a3 = splat(0.0)
    for f in range(0, row_bytes, 32):
        v = load_double(vector + 2 * f)
        a0 = multiply_add(widened(load(h0 + f)), v, a0)
        a1 = multiply_add(widened(load(h1 + f)), v, a1)
        a2 = multiply_add(widened(load(h2 + f)), v, a2)
        a3 = multiply_add(widened(load(h3 + f)), v, a3)
    e0, e1, e2, e3 = 1.0 - lane_sum(a0), 1.0 - lane_sum(a1), 1.0 - lane_sum(a2), 1.0 - lane_sum(a3)
    s0, s1, s2, s3 = splat(c0 * e0), splat(c1 * e1), splat(c2 * e2), splat(c3 * e3)
    for f in range(0, row_bytes, 32):
        x = multiply_add(widened(load(h0 + f)), s0, load_double(total + 2 * f))
        y = multiply(widened(load(h1 + f)), s1)
        x = multiply_add(widened(load(h2 + f)), s2, x)
        y = multiply_add(widened(load(h3 + f)), s3, y)
        store(total + 2 * f, add(x, y))
    return (c0 * e0 * e0 + c1 * e1 * e1) + (c2 * e2 * e2 + c3 * e3 * e3)
