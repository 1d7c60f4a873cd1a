"""Items laid out in tiles for top-N, those that can score highest first, and the users who ask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.product_kernels import LANES

_TILE_SCORES = 4096
_TILE_BYTES = 131072
_LEAST_BITS = 6
_FLAT = 0.6
"""From which share of the highest |h| + b on the middle one makes an order by height useless."""


class ItemTiles(NamedTuple):
    """The items as kernels take them.

    They are gone through in an order of their own, a tile of 2**bits after the other, by descending |h| + b where that
    differs much: so the scores that come first are high. No user scores the items of a tile higher than |w| |h| + b at
    their largest.

    Attributes
    ----------
    factors, biases
        float32, (items, d) and (items,).
    scales
        float64, (items,): what each product is multiplied by; empty for 1.
    unavailable
        bool, (items,): what must not be returned; empty where everything may be.
    order, places
        int32, (items,): the items in their order, and the place of each.
    product_biases, product_scales
        float32, (items,): `biases`, but −inf where an item is not available, and `scales`: what the scores that only
        select are made with.
    tile_norms, tile_biases
        float64, (tiles,): the largest |h| scale and b within each tile.
    largest_norm, largest_bias
        Of all items: |h| scale and |b|.
    bits
        The logarithm of the items in a tile.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    scales: NDArray[np.float64]
    unavailable: NDArray[np.bool_]
    order: NDArray[np.int32]
    places: NDArray[np.int32]
    product_biases: NDArray[np.float32]
    product_scales: NDArray[np.float32]
    tile_norms: NDArray[np.float64]
    tile_biases: NDArray[np.float64]
    largest_norm: float
    largest_bias: float
    bits: int


class Asking(NamedTuple):
    """The users of a block as kernels take them.

    Attributes
    ----------
    factors, biases, counts
        Those of `factorbox.recommend.top_n.Ranked`; counts are at most the number of items.
    scales
        float64, (rows,): empty for 1.
    product_factors
        float32, (rows, d): factors times scales.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    counts: NDArray[np.int64]
    scales: NDArray[np.float64]
    product_factors: NDArray[np.float32]


def tiles_of(
    factors: NDArray[np.float32],
    biases: NDArray[np.float32],
    *,
    scales: NDArray[np.float64] | None,
    available: NDArray[np.bool_] | None,
) -> ItemTiles:
    """Lay items out; see `factorbox.recommend.candidates.Candidates` for the arguments."""
    n_items, d = factors.shape
    all_available = available is None or bool(available.all())
    unavailable = np.zeros(0, dtype=np.bool_) if available is None or all_available else ~available
    # In a product −inf stands for "never": the selection passes over it.
    product_biases = biases if all_available else np.where(unavailable, np.float32(-np.inf), biases)
    if not biases.flags.writeable:
        # Kernels are compiled for arrays that may be written to, or for those that may not.
        product_biases.flags.writeable = False
    # einsum makes no float64 copy of all factors.
    squares = np.einsum("ij,ij->i", factors, factors, dtype=np.float64) if scales is None else np.ones(n_items)
    norms = np.sqrt(squares)  # (items,)
    order = _order_of(norms + product_biases, 1 << _tile_bits(d))
    places = np.empty(n_items, dtype=np.int32)
    places[order] = np.arange(n_items, dtype=np.int32)
    bits = _tile_bits(d)
    starts = np.arange(0, n_items, 1 << bits)
    largest = [
        np.maximum.reduceat(values[order], starts).astype(np.float64) if n_items else np.zeros(0)
        for values in (norms, product_biases)
    ]
    return ItemTiles(
        factors=factors,
        biases=biases,
        scales=np.zeros(0) if scales is None else scales,
        unavailable=unavailable,
        order=order,
        places=places,
        product_biases=product_biases,
        product_scales=np.zeros(0, dtype=np.float32) if scales is None else scales.astype(np.float32),
        tile_norms=largest[0],
        tile_biases=largest[1],
        largest_norm=float(norms.max(initial=0.0)),
        largest_bias=float(np.abs(biases).max(initial=0.0)),
        bits=bits,
    )


def _order_of(heights: NDArray[Any], first: int) -> NDArray[np.int32]:
    """Return items by descending |h| + b; as they are where most are about as high as the `first`.

    Little could be skipped of those, and rows that lie one after another are read faster.
    """
    descending = np.argsort(-heights, kind="stable").astype(np.int32)
    if len(heights) > first and heights[descending[len(heights) // 2]] > _FLAT * heights[descending[first]]:
        return np.arange(len(heights), dtype=np.int32)
    return descending


def _tile_bits(d: int) -> int:
    """Return the logarithm of a tile's items: its scores stay in the first cache, their factors in the second."""
    bits = _LEAST_BITS
    while (LANES << (bits + 1)) <= _TILE_SCORES and (4 * d << (bits + 1)) <= _TILE_BYTES:
        bits += 1
    return bits
