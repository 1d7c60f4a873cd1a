"""The inner loops of top-N for one request: the fixed-order score, selection among scores, lists of candidates."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.recommend.product_kernels import fixed_order_dots

_STRIDE = 32
_AT_ONCE = 256
_MORE_THAN_ROUNDING = 2.0**-22
_MORE_THAN_UNDERFLOW = 2.0**-148


@kernel()
def _score(w, user_bias, h, item_bias, scale):  # type: ignore[no-untyped-def]
    """Return (w·h) scale + b_u + b_i: float64, four partial sums in a fixed order, rounded once to float32.

    The order is written out because it is the result: the compiler may not change it in this kernel.
    """
    a0, a1, a2, a3 = 0.0, 0.0, 0.0, 0.0
    d = len(w)
    whole = d - d % 4
    for f in range(0, whole, 4):
        a0 += np.float64(w[f]) * np.float64(h[f])
        a1 += np.float64(w[f + 1]) * np.float64(h[f + 1])
        a2 += np.float64(w[f + 2]) * np.float64(h[f + 2])
        a3 += np.float64(w[f + 3]) * np.float64(h[f + 3])
    for f in range(whole, d):
        a0 += np.float64(w[f]) * np.float64(h[f])
    # + 0.0 turns −0 into +0, which must tie.
    return np.float32(((a0 + a1) + (a2 + a3)) * scale + (np.float64(user_bias) + np.float64(item_bias))) + np.float32(0)


@kernel()
def fixed_order_scores(w, user_biases, h, item_biases, rows, item_indices, scores):  # type: ignore[no-untyped-def]
    """Score row `rows[r]` of `w` with item `item_indices[r]` into `scores[r]`; NaN for a negative item index."""
    for r in range(len(item_indices)):
        i = item_indices[r]
        u = rows[r]
        scores[r] = _score(w[u], user_biases[u], h[i], item_biases[i], 1.0) if i >= 0 else np.float32(np.nan)


@kernel()
def rank(found, fixed, n, item_indices, exact):  # type: ignore[no-untyped-def]
    """Write the n best of some items by descending score and then ascending index."""
    # As one ascending integer each: the bits of negative floats order backwards.
    bits = fixed.view(np.int32)
    keys = np.empty(len(fixed), dtype=np.int64)
    for c in range(len(fixed)):
        ascending = np.int64(bits[c]) if bits[c] >= 0 else np.int64(-2147483648) - np.int64(bits[c])
        keys[c] = (-ascending << 32) | np.int64(found[c])
    keys.sort()
    ordered = exact.view(np.int32)
    for c in range(n):
        item_indices[c] = keys[c] & np.int64(0xFFFFFFFF)
        ascending = -(keys[c] >> 32)
        ordered[c] = ascending if ascending >= 0 else np.int64(-2147483648) - ascending


@kernel()
def cutoff_below(score, slack):  # type: ignore[no-untyped-def]
    """Return a float32 a little below `score` − `slack`: what is less than it is too far below the score."""
    exact = np.float64(score) - slack
    # Further down than rounding to float32 may lift it.
    return np.float32(exact - abs(exact) * _MORE_THAN_ROUNDING - _MORE_THAN_UNDERFLOW)


@kernel()
def put_in(heaps, row, size, n, value):  # type: ignore[no-untyped-def]
    """Put a value into a min-heap of `size` values, a row of `heaps`, or at n of them in the place of the smallest."""
    if size < n:
        child = size
        while child > 0 and heaps[row, (child - 1) // 2] > value:
            heaps[row, child] = heaps[row, (child - 1) // 2]
            child = (child - 1) // 2
        heaps[row, child] = value
        return
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= n:
            break
        if child + 1 < n and heaps[row, child + 1] < heaps[row, child]:
            child += 1
        if heaps[row, child] >= value:
            break
        heaps[row, parent] = heaps[row, child]
        parent = child
    heaps[row, parent] = value


@kernel()
def candidates_within(scores, n, slack, heap, found):  # type: ignore[no-untyped-def]
    """Collect every item whose score is within `slack` of the n-th best; −inf marks excluded items.

    A min-heap holds the n best scores so far. Its root only rises, so an item below root − slack is out for good.
    Scores that overflowed to −inf or NaN are passed over like excluded ones, so fewer than n may come back.
    """
    heaps = heap.reshape((1, -1))
    size = 0
    count = 0
    cutoff = np.float32(-np.inf)
    n_items = len(scores)
    for base in range(0, n_items, _STRIDE):
        end = min(base + _STRIDE, n_items)
        # Counting vectorizes where a maximum would not; nearly every stride ends here.
        above = 0
        for i in range(base, end):
            above += scores[i] >= cutoff
        if above == 0:
            continue
        for i in range(base, end):
            score = scores[i]
            if not score >= cutoff or score == -np.inf:
                continue
            found[count] = i
            count += 1
            if size == n and score <= heap[0]:
                continue
            put_in(heaps, 0, size, n, score)
            size = min(size + 1, n)
            if size == n:
                cutoff = cutoff_below(heap[0], slack)
    kept = 0
    for c in range(count):
        if scores[found[c]] >= cutoff:
            found[kept] = found[c]
            kept += 1
    return kept


@kernel()
def exclude(scores, items):  # type: ignore[no-untyped-def]
    """Make the scores of some items −inf; return how many were not so before."""
    removed = 0
    for i in items:
        if scores[i] != -np.inf:
            scores[i] = -np.inf
            removed += 1
    return removed


@kernel()
def exact_scores(w, user_bias, row_scale, h, item_biases, scales, items, exact):  # type: ignore[no-untyped-def]
    """Fill `exact` with the fixed-order scores of some items: those of `_score`, to the last bit."""
    dots = np.empty(min(len(items), _AT_ONCE))
    for start in range(0, len(items), _AT_ONCE):
        part = items[start : start + _AT_ONCE]
        fixed_order_dots(w, h, part, dots)
        for c in range(len(part)):
            i = part[c]
            scale = row_scale * scales[i] if len(scales) else 1.0
            bias = np.float64(user_bias) + np.float64(item_biases[i])
            exact[start + c] = np.float32(dots[c] * scale + bias) + np.float32(0)


@kernel()
def allowed_of(included, excluded, unavailable, marked, found):  # type: ignore[no-untyped-def]
    """Collect in `found`, ascending, the included items that are neither excluded nor unavailable; return how many.

    A repeated item counts once. `marked` is zero for every item, before and after.
    """
    for i in excluded:
        marked[i] = 1
    size = 0
    for i in included:
        if marked[i] == 0 and not (len(unavailable) and unavailable[i]):
            marked[i] = 1
            found[size] = i
            size += 1
    for i in excluded:
        marked[i] = 0
    for k in range(size):
        marked[found[k]] = 0
    found[:size].sort()
    return size


@kernel()
def longest_of(indptr):  # type: ignore[no-untyped-def]
    """Return the length of the longest of some lists."""
    longest = 0
    for row in range(len(indptr) - 1):
        longest = max(longest, indptr[row + 1] - indptr[row])
    return longest


@kernel()
def rank_listed(  # type: ignore[no-untyped-def]
    w,
    user_biases,
    row_scales,
    h,
    item_biases,
    scales,
    unavailable,
    counts,
    included_indptr,
    included_items,
    excluded_indptr,
    excluded_items,
    indptr,
    item_indices,
    exact,
):
    """Fill `indptr`, `item_indices` and `exact` with the best of the items that each row lists.

    `unavailable` and `scales` are empty where every item is available and nothing is scaled.
    """
    marked = np.zeros(len(h), dtype=np.uint8)
    found = np.empty(longest_of(included_indptr), dtype=np.int32)
    written = 0
    for row in range(len(w)):
        included = included_items[included_indptr[row] : included_indptr[row + 1]]
        excluded = excluded_items[excluded_indptr[row] : excluded_indptr[row + 1]]
        size = allowed_of(included, excluded, unavailable, marked, found)
        fixed = np.empty(size, dtype=np.float32)
        row_scale = row_scales[row] if len(scales) else 1.0
        exact_scores(w[row], user_biases[row], row_scale, h, item_biases, scales, found[:size], fixed)
        n = min(counts[row], size)
        rank(found, fixed, n, item_indices[written:], exact[written:])
        written += n
        indptr[row + 1] = written
