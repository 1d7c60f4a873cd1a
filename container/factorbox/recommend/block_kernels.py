"""Top-N for a block of requests: scores are made a tile at a time and selected from while they are in the cache.

A tile is some hundred items by a panel of users. Each user keeps a min-heap of the n best scores so far, whose root
only rises: an item whose score is further below it than twice the error bound is out for good, and so are all items of
a tile whose largest |w| |h| + b is. Nearly all scores of a tile are dismissed many vectors at a time; what remains is
ranked by fixed-order scores at the end.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.recommend.panel_kernels import bounds, excluded_places, gather, panels_of, room_for_items
from factorbox.recommend.product_kernels import (
    CHECKED_ROWS,
    LANES,
    any_reaches,
    fill_tile,
    lowest_bit,
    reaching_lanes,
)
from factorbox.recommend.top_n_kernels import cutoff_below, exact_scores, put_in, rank

_FEW = 4
"""A panel with fewer users than this costs more than scoring each of them by itself."""

_SPARE = 64
"""Room for candidates of a user beyond twice the n that are wanted."""

_LOWEST = np.float32(-3.4028234663852886e38)


@kernel()
def _is_needed(norms, slacks, at, end, tile_norm, tile_bias, cutoffs):  # type: ignore[no-untyped-def]
    """Say whether an item of a tile may reach the cutoff of some user of a panel; NaN is reached by nothing."""
    needed = False
    for row in range(at, end):
        needed |= norms[row] * tile_norm + tile_bias + slacks[row] >= cutoffs[row]
    return needed


@kernel()
def _begin(tile, size, n, slacks, cutoffs):  # type: ignore[no-untyped-def]
    """Set first cutoffs of a panel: of n groups of items the least maximum is a lower bound of the n-th best."""
    each = size // n
    least = np.full(LANES, np.inf, dtype=np.float32)
    for group in range(n):
        largest = np.full(LANES, -np.inf, dtype=np.float32)
        for i in range(group * each, (group + 1) * each):
            for lane in range(LANES):
                largest[lane] = tile[i, lane] if tile[i, lane] > largest[lane] else largest[lane]
        for lane in range(LANES):
            least[lane] = min(least[lane], largest[lane])
    for lane in range(len(slacks)):
        # Whoever is out stays so: his cutoff is NaN.
        if cutoffs[lane] == cutoffs[lane]:
            cutoffs[lane] = max(cutoffs[lane], cutoff_below(least[lane], slacks[lane]))


@kernel()
def _keep(row, found, found_scores, size, cutoff):  # type: ignore[no-untyped-def]
    """Drop what has fallen below the cutoff; return how many are left."""
    kept = 0
    for c in range(size):
        if found_scores[row, c] >= cutoff:
            found[row, kept] = found[row, c]
            found_scores[row, kept] = found_scores[row, c]
            kept += 1
    return kept


@kernel()
def _select(tile, items, at, counts, slacks, heaps, heap_sizes, found, found_scores, found_sizes, cutoffs):  # type: ignore[no-untyped-def]
    """Take up what reaches the cutoffs in a tile of some items, and raise them.

    A user with more candidates than there is room for is given up: NaN is his cutoff from then on.
    """
    room = found.shape[1]
    for begin in range(0, len(items), CHECKED_ROWS):
        if not any_reaches(tile, begin, cutoffs, at):
            continue
        for i in range(begin, begin + CHECKED_ROWS):
            mask = reaching_lanes(tile, i, cutoffs, at)
            while mask != 0:
                lane = lowest_bit(mask)
                mask &= mask - 1
                row = at + lane
                score = tile[i, lane]
                count = found_sizes[row]
                if count == room:
                    count = _keep(row, found, found_scores, count, cutoffs[row])
                    if count == room:
                        cutoffs[row] = np.nan
                        continue
                found[row, count] = items[i]
                found_scores[row, count] = score
                found_sizes[row] = count + 1
                n, of_heap = counts[row], heap_sizes[row]
                if of_heap == n and score <= heaps[row, 0]:
                    continue
                put_in(heaps, row, of_heap, n, score)
                heap_sizes[row] = min(of_heap + 1, n)
                if of_heap + 1 >= n:
                    cutoffs[row] = max(cutoffs[row], cutoff_below(heaps[row, 0], slacks[row]))


@kernel()
def _candidates(asking, norms, slacks, tiles, excluded_indptr, excluded, n_rows, cutoffs):  # type: ignore[no-untyped-def]
    """Return the candidates of the first users of a block, their scores, and how many each has; raise the cutoffs."""
    most = max(1, np.max(asking.counts)) if n_rows > 0 else 1
    room = min(len(tiles.order), 2 * most + _SPARE)
    heaps = np.empty((n_rows, most), dtype=np.float32)
    heap_sizes = np.zeros(n_rows, dtype=np.int64)
    found = np.empty((n_rows, room), dtype=np.int32)
    found_scores = np.empty((n_rows, room), dtype=np.float32)
    found_sizes = np.zeros(n_rows, dtype=np.int64)
    if n_rows == 0:
        return found, found_scores, found_sizes
    panels = panels_of(asking.product_factors, n_rows)
    starts, places = excluded_places(tiles, excluded_indptr, excluded, 0, n_rows, LANES)
    tile = np.empty((1 << tiles.bits, LANES), dtype=np.float32)
    flat = tile.reshape(-1)
    h, scales, biases = room_for_items(tiles)
    for t in range(len(tiles.tile_norms)):
        items = tiles.order[t << tiles.bits : (t + 1) << tiles.bits]
        gathered = False
        for p in range(len(panels)):
            at = p * LANES
            end = min(at + LANES, n_rows)
            if not _is_needed(norms, slacks, at, end, tiles.tile_norms[t], tiles.tile_biases[t], cutoffs):
                continue
            if not gathered:
                gather(tiles, items, h, scales, biases)
                gathered = True
            fill_tile(panels[p], h, scales, biases, len(items), tile)
            for e in range(starts[t * len(panels) + p], starts[t * len(panels) + p + 1]):
                flat[places[e]] = -np.inf
            if t == 0 and len(items) >= 2 * most:
                _begin(tile, len(items), most, slacks[at:end], cutoffs[at : at + LANES])
            _select(
                tile, items, at, asking.counts, slacks, heaps, heap_sizes, found, found_scores, found_sizes, cutoffs
            )
    return found, found_scores, found_sizes


@kernel()
def _rank_alone(asking, row, norm, slack, tiles, excluded_indptr, excluded, item_indices, exact):  # type: ignore[no-untyped-def]
    """Write the best items of one user by their fixed-order scores alone; return how many there are.

    NaN and −inf are no scores.
    """
    n = asking.counts[row]
    row_scale = asking.scales[row] if len(tiles.scales) else 1.0
    starts, places = excluded_places(tiles, excluded_indptr, excluded, row, row + 1, 1)
    scores = np.empty(1 << tiles.bits, dtype=np.float32)
    heaps = np.empty((1, n), dtype=np.float32)
    of_heap = 0
    found = np.empty((1, len(tiles.order)), dtype=np.int32)
    found_scores = np.empty((1, len(tiles.order)), dtype=np.float32)
    size = 0
    cutoff = _LOWEST
    w, user_bias = asking.factors[row], asking.biases[row]
    for t in range(len(tiles.tile_norms)):
        highest = norm * tiles.tile_norms[t] + tiles.tile_biases[t] + user_bias + slack
        # A slack of NaN proves nothing.
        if highest < cutoff:
            continue
        items = tiles.order[t << tiles.bits : (t + 1) << tiles.bits]
        exact_scores(w, user_bias, row_scale, tiles.factors, tiles.biases, tiles.scales, items, scores)
        for e in range(starts[t], starts[t + 1]):
            scores[places[e]] = np.nan
        for c in range(len(items)):
            score = scores[c]
            if not score >= cutoff or (len(tiles.unavailable) and tiles.unavailable[items[c]]):
                continue
            found[0, size] = items[c]
            found_scores[0, size] = score
            size += 1
            if of_heap < n or score > heaps[0, 0]:
                put_in(heaps, 0, of_heap, n, score)
                of_heap = min(of_heap + 1, n)
                if of_heap == n:
                    cutoff = heaps[0, 0]
    size = _keep(0, found, found_scores, size, cutoff)
    n = min(n, size)
    rank(found[0], found_scores[0, :size], n, item_indices, exact)
    return n


@kernel()
def rank_block(asking, tiles, excluded_indptr, excluded, indptr, item_indices, exact):  # type: ignore[no-untyped-def]
    """Fill `indptr`, `item_indices` and `exact` with the best of all items for the users of a block.

    Parameters are `factorbox.recommend.item_tiles.Asking` and `ItemTiles`, and what each user must not get.
    """
    n_rows = len(asking.counts)
    n_panels = -(-n_rows // LANES)
    in_panels = n_rows if n_rows - (n_panels - 1) * LANES >= _FEW else (n_panels - 1) * LANES
    norms, slacks = bounds(asking, tiles)
    cutoffs = np.full(n_panels * LANES, np.nan, dtype=np.float32)
    for row in range(in_panels):
        if asking.counts[row] > 0 and slacks[row] == slacks[row]:
            cutoffs[row] = _LOWEST
    found, found_scores, found_sizes = _candidates(
        asking, norms, slacks, tiles, excluded_indptr, excluded, in_panels, cutoffs
    )
    fixed = np.empty(found.shape[1], dtype=np.float32)
    written = 0
    for row in range(n_rows):
        n = asking.counts[row]
        if n > 0 and cutoffs[row] != cutoffs[row]:
            written += _rank_alone(
                asking,
                row,
                norms[row],
                slacks[row],
                tiles,
                excluded_indptr,
                excluded,
                item_indices[written:],
                exact[written:],
            )
        elif n > 0:
            size = _keep(row, found, found_scores, found_sizes[row], cutoffs[row])
            row_scale = asking.scales[row] if len(tiles.scales) else 1.0
            w, items = asking.factors[row], found[row, :size]
            exact_scores(w, asking.biases[row], row_scale, tiles.factors, tiles.biases, tiles.scales, items, fixed)
            n = min(n, size)
            rank(items, fixed[:size], n, item_indices[written:], exact[written:])
            written += n
        indptr[row + 1] = written
