"""The inner loops of top-N: candidate selection within a block of scores, and the fixed-order score."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel

_STRIDE = 32


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
    """Write the n best of some items, ascending in `found`, by descending score and then ascending index."""
    # As one ascending integer each: the bits of negative floats order backwards.
    bits = fixed.view(np.int32)
    keys = np.empty(len(fixed), dtype=np.int64)
    for c in range(len(fixed)):
        ascending = np.int64(bits[c]) if bits[c] >= 0 else np.int64(-2147483648) - np.int64(bits[c])
        keys[c] = (-ascending << 32) | np.int64(c)
    keys.sort()
    for c in range(n):
        place = keys[c] & np.int64(0xFFFFFFFF)
        item_indices[c] = found[place]
        exact[c] = fixed[place]


@kernel()
def _sift_down(heap, size):  # type: ignore[no-untyped-def]
    """Restore the min-heap after its root changed."""
    parent = 0
    value = heap[0]
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = value


@kernel()
def candidates_within(scores, n, slack, heap, found):  # type: ignore[no-untyped-def]
    """Collect every item whose score is within `slack` of the n-th best; −inf marks excluded items.

    A min-heap holds the n best scores so far. Its root only rises, so an item below root − slack is out for good.
    Scores that overflowed to −inf or NaN are passed over like excluded ones, so fewer than n may come back.
    """
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
            if size < n:
                # Sift up.
                child = size
                size += 1
                while child > 0 and heap[(child - 1) // 2] > score:
                    heap[child] = heap[(child - 1) // 2]
                    child = (child - 1) // 2
                heap[child] = score
            elif score > heap[0]:
                heap[0] = score
                _sift_down(heap, size)
            else:
                continue
            if size == n:
                cutoff = np.nextafter(np.float32(np.float64(heap[0]) - slack), np.float32(-np.inf))
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
def select_rows(  # type: ignore[no-untyped-def]
    scores,
    n_available,
    w,
    user_biases,
    row_scales,
    h,
    item_biases,
    scales,
    counts,
    slacks,
    excluded_indptr,
    excluded_items,
    indptr,
    item_indices,
    exact,
):
    """Fill `indptr`, `item_indices` and `exact` with the answers of a block; `scores` is used up.

    `scores` is −inf at the items that are not available, of which all but `n_available` are; `scales` is empty where
    nothing is scaled.
    """
    found = np.empty(len(h), dtype=np.int32)
    heap = np.empty(max(1, np.max(counts)), dtype=np.float32)
    written = 0
    for row in range(len(w)):
        removed = exclude(scores[row], excluded_items[excluded_indptr[row] : excluded_indptr[row + 1]])
        n = min(counts[row], n_available - removed)
        if n > 0:
            kept = candidates_within(scores[row], n, slacks[row], heap, found)
            fixed = np.empty(kept, dtype=np.float32)
            for c in range(kept):
                i = found[c]
                scale = row_scales[row] * scales[i] if len(scales) else 1.0
                fixed[c] = _score(w[row], user_biases[row], h[i], item_biases[i], scale)
            n = min(n, kept)
            rank(found, fixed, n, item_indices[written:], exact[written:])
            written += n
        indptr[row + 1] = written


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
        for c in range(size):
            i = found[c]
            scale = row_scales[row] * scales[i] if len(scales) else 1.0
            fixed[c] = _score(w[row], user_biases[row], h[i], item_biases[i], scale)
        n = min(counts[row], size)
        rank(found, fixed, n, item_indices[written:], exact[written:])
        written += n
        indptr[row + 1] = written
