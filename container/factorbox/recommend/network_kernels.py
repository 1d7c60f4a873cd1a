"""The inner loops of a network's top-N.

Hidden units and inputs are added up one after another, in their order, in float32; the loops that run side by side
are those over items. So the score of a pair is the same bytes whichever items are scored with it.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.recommend.top_n_kernels import allowed_of, candidates_within, exclude, longest_of, rank

_ITEMS = 256
"""Items that are scored side by side: few enough for their factors to stay in the cache."""


@kernel()
def _gather(h, items, start, block):  # type: ignore[no-untyped-def]
    """Write the factors of `items[start:]` into the columns of `block`; return how many there are."""
    size = min(block.shape[1], len(items) - start)
    for c in range(size):
        i = items[start + c]
        for f in range(block.shape[0]):
            block[f, c] = h[i, f]
    return size


@kernel()
def _add_hidden(p, v, block, size, out):  # type: ignore[no-untyped-def]
    """Add Σ_f v_f relu(p_f + q_f) to `out`, f ascending; four at a time only spares memory traffic."""
    zero = np.float32(0)
    whole = len(v) - len(v) % 4
    for f in range(0, whole, 4):
        p0, p1, p2, p3 = p[f], p[f + 1], p[f + 2], p[f + 3]
        v0, v1, v2, v3 = v[f], v[f + 1], v[f + 2], v[f + 3]
        q0, q1, q2, q3 = block[f], block[f + 1], block[f + 2], block[f + 3]
        for c in range(size):
            total = out[c] + v0 * max(p0 + q0[c], zero)
            total = total + v1 * max(p1 + q1[c], zero)
            total = total + v2 * max(p2 + q2[c], zero)
            out[c] = total + v3 * max(p3 + q3[c], zero)
    for f in range(whole, len(v)):
        pf, vf, qf = p[f], v[f], block[f]
        for c in range(size):
            out[c] = out[c] + vf * max(pf + qf[c], zero)


@kernel()
def _score_block(p, user_bias, sizes, weights, biases, v, output_bias, block, size, ping, pong, out):  # type: ignore[no-untyped-def]
    """Write net(p + q) + b_u for the items of a block into `out`; `p` holds the first hidden bias already."""
    zero = np.float32(0)
    for c in range(size):
        out[c] = zero
    if len(sizes) == 1:
        _add_hidden(p, v, block, size, out)
    else:
        # The first relu is a layer of its own; each of the others is taken while the next layer reads.
        for f in range(sizes[0]):
            pf, qf, af = p[f], block[f], ping[f]
            for c in range(size):
                af[c] = max(pf + qf[c], zero)
        at_weight, at_bias = 0, 0
        inputs, outputs = ping, pong
        for layer in range(1, len(sizes)):
            for g in range(sizes[layer]):
                bias, row = biases[at_bias + g], outputs[g]
                for c in range(size):
                    row[c] = zero
                matrix_row = weights[at_weight + g * sizes[layer - 1] : at_weight + (g + 1) * sizes[layer - 1]]
                _add_weighted(matrix_row, inputs, size, row)
                for c in range(size):
                    row[c] = max(row[c] + bias, zero)
            at_weight += sizes[layer] * sizes[layer - 1]
            at_bias += sizes[layer]
            inputs, outputs = outputs, inputs
        _add_weighted(v, inputs, size, out)
    for c in range(size):
        # + 0 turns −0 into +0, which must tie.
        out[c] = ((out[c] + output_bias) + user_bias) + zero


@kernel()
def _add_weighted(v, inputs, size, out):  # type: ignore[no-untyped-def]
    """Add Σ_f v_f a_f to `out`, f ascending; four at a time only spares memory traffic."""
    whole = len(v) - len(v) % 4
    for f in range(0, whole, 4):
        v0, v1, v2, v3 = v[f], v[f + 1], v[f + 2], v[f + 3]
        a0, a1, a2, a3 = inputs[f], inputs[f + 1], inputs[f + 2], inputs[f + 3]
        for c in range(size):
            total = out[c] + v0 * a0[c]
            total = total + v1 * a1[c]
            total = total + v2 * a2[c]
            out[c] = total + v3 * a3[c]
    for f in range(whole, len(v)):
        vf, af = v[f], inputs[f]
        for c in range(size):
            out[c] = out[c] + vf * af[c]


@kernel()
def _buffers(sizes):  # type: ignore[no-untyped-def]
    """Return room for a block's factors and for two layers of it."""
    widest = np.max(sizes) if len(sizes) > 1 else 0
    return (
        np.empty((sizes[0], _ITEMS), dtype=np.float32),
        np.empty((widest, _ITEMS), dtype=np.float32),
        np.empty((widest, _ITEMS), dtype=np.float32),
    )


@kernel()
def score_rows(p, user_biases, h, sizes, weights, biases, v, output_bias, scores):  # type: ignore[no-untyped-def]
    """Fill `scores`, (rows, items), with net(p + q) + b_u; `p` holds the first hidden bias already."""
    block, ping, pong = _buffers(sizes)
    items = np.arange(len(h)).astype(np.int32)
    for start in range(0, len(h), _ITEMS):
        size = _gather(h, items, start, block)
        for row in range(len(p)):
            out = scores[row, start : start + size]
            _score_block(p[row], user_biases[row], sizes, weights, biases, v, output_bias, block, size, ping, pong, out)


@kernel()
def _score_items(p, user_bias, h, items, sizes, weights, biases, v, output_bias, block, ping, pong, out):  # type: ignore[no-untyped-def]
    """Write net(p + q) + b_u for some items into `out`."""
    for start in range(0, len(items), _ITEMS):
        size = _gather(h, items, start, block)
        of_block = out[start : start + size]
        _score_block(p, user_bias, sizes, weights, biases, v, output_bias, block, size, ping, pong, of_block)


@kernel()
def score_pairs(p, user_biases, h, rows, items, sizes, weights, biases, v, output_bias, scores):  # type: ignore[no-untyped-def]
    """Score row `rows[r]` of `p` with item `items[r]` into `scores[r]`; NaN for a negative item index."""
    block, ping, pong = _buffers(sizes)
    known = np.maximum(items, np.int32(0))
    start = 0
    while start < len(rows):
        u, end = rows[start], start + 1
        while end < len(rows) and rows[end] == u:
            end += 1
        part, out = known[start:end], scores[start:end]
        _score_items(p[u], user_biases[u], h, part, sizes, weights, biases, v, output_bias, block, ping, pong, out)
        start = end
    for r in range(len(items)):
        if items[r] < 0:
            scores[r] = np.float32(np.nan)


@kernel()
def best_of_rows(scores, unavailable, n_available, counts, excluded_indptr, excluded_items, indptr, found_items, exact):  # type: ignore[no-untyped-def]
    """Fill `indptr`, `found_items` and `exact` with the best of each row of `scores`, which is used up."""
    n_items = scores.shape[1]
    found = np.empty(n_items, dtype=np.int32)
    heap = np.empty(max(1, np.max(counts)), dtype=np.float32)
    written = 0
    for row in range(len(scores)):
        for i in unavailable:
            scores[row, i] = -np.inf
        removed = exclude(scores[row], excluded_items[excluded_indptr[row] : excluded_indptr[row + 1]])
        n = min(counts[row], n_available - removed)
        if n > 0:
            kept = candidates_within(scores[row], n, 0.0, heap, found)
            fixed = np.empty(kept, dtype=np.float32)
            for c in range(kept):
                fixed[c] = scores[row, found[c]]
            n = min(n, kept)
            rank(found, fixed, n, found_items[written:], exact[written:])
            written += n
        indptr[row + 1] = written


@kernel()
def best_of_listed(  # type: ignore[no-untyped-def]
    p,
    user_biases,
    h,
    sizes,
    weights,
    biases,
    v,
    output_bias,
    unavailable,
    counts,
    included_indptr,
    included_items,
    excluded_indptr,
    excluded_items,
    indptr,
    found_items,
    exact,
):
    """Fill `indptr`, `found_items` and `exact` with the best of the items that each row lists.

    `unavailable` is empty where every item is available.
    """
    block, ping, pong = _buffers(sizes)
    marked = np.zeros(len(h), dtype=np.uint8)
    found = np.empty(longest_of(included_indptr), dtype=np.int32)
    written = 0
    for row in range(len(p)):
        included = included_items[included_indptr[row] : included_indptr[row + 1]]
        excluded = excluded_items[excluded_indptr[row] : excluded_indptr[row + 1]]
        size = allowed_of(included, excluded, unavailable, marked, found)
        fixed = np.empty(size, dtype=np.float32)
        _score_items(
            p[row],
            user_biases[row],
            h,
            found[:size],
            sizes,
            weights,
            biases,
            v,
            output_bias,
            block,
            ping,
            pong,
            fixed,
        )
        n = min(counts[row], size)
        rank(found, fixed, n, found_items[written:], exact[written:])
        written += n
        indptr[row + 1] = written
