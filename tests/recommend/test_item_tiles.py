"""Items in tiles for top-N."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.recommend.item_tiles import ItemTiles, tiles_of

N_ITEMS, D = 3000, 16


def tiles_with(lengths: np.ndarray, biases: np.ndarray, available: np.ndarray | None = None) -> ItemTiles:
    directions = np.random.default_rng(0).standard_normal((len(lengths), D))
    factors = directions / np.linalg.norm(directions, axis=1, keepdims=True) * lengths[:, None]
    return tiles_of(factors.astype(np.float32), biases.astype(np.float32), scales=None, available=available)


def test_items_of_different_lengths_come_highest_first() -> None:
    lengths, biases = np.random.default_rng(1).exponential(size=N_ITEMS), np.random.default_rng(2).random(N_ITEMS) / 10
    tiles = tiles_with(lengths, biases)
    assert (np.diff((lengths + biases)[tiles.order]) <= 1e-6).all()


def test_items_of_about_the_same_length_keep_their_order() -> None:
    tiles = tiles_with(np.random.default_rng(1).uniform(0.9, 1.0, N_ITEMS), np.zeros(N_ITEMS))
    np.testing.assert_array_equal(tiles.order, np.arange(N_ITEMS))


@pytest.mark.parametrize("spread", [0.05, 1.0], ids=["in order", "by height"])
def test_nothing_of_a_tile_is_above_its_bounds(spread: float) -> None:
    rng = np.random.default_rng(3)
    lengths, biases = 1.0 - spread * rng.random(N_ITEMS), rng.random(N_ITEMS) * spread
    tiles = tiles_with(lengths, biases, available=rng.random(N_ITEMS) < 0.9)
    np.testing.assert_array_equal(tiles.places[tiles.order], np.arange(N_ITEMS))
    for tile, (norm, bias) in enumerate(zip(tiles.tile_norms, tiles.tile_biases, strict=True)):
        items = tiles.order[tile << tiles.bits : (tile + 1) << tiles.bits]
        assert np.linalg.norm(tiles.factors[items].astype(np.float64), axis=1).max() <= norm * (1 + 1e-6)
        assert tiles.product_biases[items].max() == bias


def test_biases_that_may_not_be_written_stay_so_where_items_are_unavailable() -> None:
    biases = np.zeros(N_ITEMS, dtype=np.float32)
    biases.flags.writeable = False
    available = np.arange(N_ITEMS) != 7
    tiles = tiles_of(np.ones((N_ITEMS, D), dtype=np.float32), biases, scales=None, available=available)
    assert tiles.product_biases[7] == -np.inf
    assert not tiles.product_biases.flags.writeable
