"""The trainer by blocks: how the data are cut, and that one pair's step is that of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from factorbox.models.adagrad import sums_name
from factorbox.models.base import Algorithm, Device, Factors
from factorbox.models.sampled import ADAPTIVE_HINGE, BPR, HINGE, POINTWISE
from factorbox.models.sampled_blocks import ItemBlocks, blocks_for
from factorbox.models.warm_start import TRAINED_ITEMS
from support import clustered_interactions, interactions_from_rows

all_losses = pytest.mark.parametrize(
    "algorithm", [BPR, HINGE, ADAPTIVE_HINGE, POINTWISE], ids=lambda algorithm: str(algorithm.name)
)
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")


def made_up_start(rng: np.random.Generator, *, users: int, items: int, d: int) -> Factors:
    shapes = {"user_factors": (users, d), "item_factors": (items, d), "user_biases": (users,), "item_biases": (items,)}
    tables: dict[str, Any] = {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    # Only the pointwise loss ever moves those.
    tables["user_biases"][:] = 0
    sums = {sums_name(name): rng.random(shapes[name][0], dtype=np.float32) for name in TABLES}
    return Factors(**tables, epochs=3, train_loss=0.5, state={**sums, TRAINED_ITEMS: np.ones(items, dtype=np.float32)})


@all_losses
@pytest.mark.parametrize("d", [1, 5, 8, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_step_of_one_pair_is_that_of_torch(algorithm: Algorithm, d: int, seed: int) -> None:
    # One pair, and one item that can be set against it: nothing is left to chance.
    interactions = interactions_from_rows([[1]], n_items=2)
    start = made_up_start(np.random.default_rng(seed), users=1, items=2, d=d)
    config = algorithm.config(embedding_dim=d, epochs=1, learning_rate=0.07, regularization=0.2)

    def after(device: Device) -> Factors:
        return algorithm.fit(interactions, config=config, random_state=0, device=device, start=start)

    by_kernels, by_torch = after("cpu"), after("none")
    assert by_kernels.train_loss == pytest.approx(by_torch.train_loss, rel=1e-5, abs=1e-6)
    for name in TABLES:
        np.testing.assert_allclose(getattr(by_kernels, name), getattr(by_torch, name), rtol=1e-4, atol=1e-5)
        key = sums_name(name)
        np.testing.assert_allclose(by_kernels.state[key], by_torch.state[key], rtol=1e-4, atol=1e-6)
    assert not np.array_equal(by_kernels.item_factors, start.item_factors)


def held_out_hits(algorithm: Algorithm, device: Device) -> float:
    """Share of the best five unseen items that are to the user's taste, of which a quarter would be by chance."""
    interactions = clustered_interactions(np.random.default_rng(8), n_users=400, n_items=80)
    config = algorithm.config(embedding_dim=8, epochs=30, batch_size=256)
    factors = algorithm.fit(interactions, config=config, random_state=0, device=device)
    scores = factors.user_factors @ factors.item_factors.T + factors.item_biases
    hits = []
    for user in range(interactions.n_users):
        scores[user, interactions.items_of(user)] = -np.inf
        hits.append(np.argsort(-scores[user])[:5] % 4 == user % 4)
    return float(np.mean(hits))


@all_losses
def test_the_kernels_learn_as_well_as_torch(algorithm: Algorithm) -> None:
    by_kernels, by_torch = held_out_hits(algorithm, "cpu"), held_out_hits(algorithm, "none")
    assert by_kernels > 0.8
    assert by_kernels > by_torch - 0.05


def test_there_are_as_many_blocks_as_the_data_are_worth() -> None:
    assert blocks_for(items=1_000_000, pairs=1000) == 1
    assert blocks_for(items=63, pairs=10**9) == 1
    assert blocks_for(items=1_682, pairs=75_000) == 4
    assert blocks_for(items=10_000, pairs=5_000_000) == 16
    assert blocks_for(items=1_000_000, pairs=10**9) == 16


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_every_item_has_one_block_and_a_place_there(blocks: int) -> None:
    shuffled = ItemBlocks.shuffled(1003, blocks=blocks, rng=np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(shuffled.items)), np.arange(1003))
    sizes = [len(own) for own in shuffled.items]
    assert max(sizes) - min(sizes) <= 1
    for block, own in enumerate(shuffled.items):
        assert (shuffled.block_of_item[own] == block).all()
        assert np.array_equal(own[shuffled.place_of_item[own]], own)


def test_another_epoch_puts_other_items_together() -> None:
    rng = np.random.default_rng(0)
    one, other = (ItemBlocks.shuffled(1000, blocks=4, rng=rng).block_of_item for _ in range(2))
    # Two items of a block meet again in a quarter of the cases.
    assert 0.2 < np.mean(one == other) < 0.3
