"""What is made ready before a block of requests is ranked: users in panels, error bounds, excluded items by tile."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.recommend.product_kernels import LANES, fill_tile

_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST = 2.0**-149
_LARGEST = 2.0**126
"""Sums of products whose absolute values add up to less cannot overflow float32."""


@kernel()
def bounds(asking, tiles):  # type: ignore[no-untyped-def]
    """Return |w| of each user, and how far below the n-th best an item of the true top n may be selected.

    The latter is twice the bound of the difference between a score that selects, plus b_u, and the fixed-order score:
    |fl(x) − x| ≤ gamma_n (‖w‖ ‖h‖ + |b_i| + |b_u|) with gamma_n = n u / (1 − n u) for any order of n additions,
    fused or not (Higham 2002, section 3.1); n counts the d products, the scaling of both sides, both biases and the
    rounding of the result. NaN where scores may overflow.
    """
    n_rows, d = asking.product_factors.shape
    norms = np.zeros(n_rows)
    slacks = np.full(n_rows, np.nan)
    gamma = (d + 8) * _UNIT_ROUNDOFF / (1 - (d + 8) * _UNIT_ROUNDOFF)
    for row in range(n_rows):
        square = 0.0
        for factor in asking.product_factors[row]:
            square += np.float64(factor) * np.float64(factor)
        norms[row] = np.sqrt(square)
        largest = norms[row] * tiles.largest_norm + tiles.largest_bias + abs(np.float64(asking.biases[row]))
        if largest < _LARGEST:
            # Products below the normal numbers are off by up to the smallest one.
            slacks[row] = 2 * (gamma * largest + (d + 8) * _SMALLEST)
    return norms, slacks


@kernel()
def panels_of(w, n_rows):  # type: ignore[no-untyped-def]
    """Lay the first users side by side, panel by panel.  # (panels, d, LANES)."""
    d = w.shape[1]
    panels = np.zeros((-(-n_rows // LANES), d, LANES), dtype=np.float32)
    for row in range(n_rows):
        panel = panels[row // LANES]
        lane = row % LANES
        for f in range(d):
            panel[f, lane] = w[row, f]
    return panels


@kernel()
def room_for_items(tiles):  # type: ignore[no-untyped-def]
    """Return room for the factors, scales and biases of the items of a tile; none for scales where there are none."""
    size, d = 1 << tiles.bits, tiles.factors.shape[1]
    return (
        np.empty((size, d), dtype=np.float32),
        np.empty(size if len(tiles.scales) else 0, dtype=np.float32),
        np.empty(size, dtype=np.float32),
    )


@kernel()
def gather(tiles, items, h, scales, biases):  # type: ignore[no-untyped-def]
    """Lay the items of a tile one after another: they are read again for every panel."""
    for c in range(len(items)):
        own, row = h[c], tiles.factors[items[c]]
        for f in range(len(row)):
            own[f] = row[f]
        biases[c] = tiles.product_biases[items[c]]
        if len(scales):
            scales[c] = tiles.product_scales[items[c]]


@kernel()
def excluded_places(tiles, indptr, excluded, first, last, lanes):  # type: ignore[no-untyped-def]
    """Sort what the users `first` to `last` must not get by tile and panel of `lanes` users.

    Returns where those of each tile and panel begin, and the place of each within the scores of its tile.
    """
    n_panels = -(-(last - first) // lanes)
    starts = np.zeros(len(tiles.tile_norms) * n_panels + 2, dtype=np.int64)
    for row in range(first, last):
        for e in range(indptr[row], indptr[row + 1]):
            starts[(tiles.places[excluded[e]] >> tiles.bits) * n_panels + (row - first) // lanes + 2] += 1
    for t in range(2, len(starts)):
        starts[t] += starts[t - 1]
    places = np.empty(starts[-1], dtype=np.int32)
    in_tile = (1 << tiles.bits) - 1
    for row in range(first, last):
        panel, lane = (row - first) // lanes, (row - first) % lanes
        for e in range(indptr[row], indptr[row + 1]):
            place = tiles.places[excluded[e]]
            bucket = (place >> tiles.bits) * n_panels + panel + 1
            places[starts[bucket]] = (place & in_tile) * lanes + lane
            starts[bucket] += 1
    return starts, places


@kernel()
def fill_scores(w, tiles, scores):  # type: ignore[no-untyped-def]
    """Fill `scores`, (rows, items), with (w·h) scale + b in float32, −inf where an item is not available."""
    panels = panels_of(w, len(w))
    h, scales, biases = room_for_items(tiles)
    tile = np.empty((1 << tiles.bits, LANES), dtype=np.float32)
    for t in range(len(tiles.tile_norms)):
        items = tiles.order[t << tiles.bits : (t + 1) << tiles.bits]
        gather(tiles, items, h, scales, biases)
        for p in range(len(panels)):
            fill_tile(panels[p], h, scales, biases, len(items), tile)
            for lane in range(min(LANES, len(w) - p * LANES)):
                own = scores[p * LANES + lane]
                for i in range(len(items)):
                    own[items[i]] = tile[i, lane]
