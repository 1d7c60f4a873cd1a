"""The sampled losses by numba kernels, on up to 16 threads, with the same bytes for any number of them.

Users are cut into B blocks once, items into B blocks by a shuffle of each epoch. The pairs of a user block with an item
block are a cell. An epoch is B diagonals, one after another: the cells of a diagonal have neither users nor items in
common, so threads can work on them at once and it does not matter which is done first (Gemulla, Nijkamp, Haas,
Sismanis 2011, "Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent"). Each cell has a random
generator of its own, and draws negatives among its own items. That these are other items every epoch makes negatives
uniform over all unseen items in the long run.

Beside the interactions this takes 8 bytes a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import sums_name
from factorbox.models.base import Factors, Watch
from factorbox.models.sampled_config import INITIAL_SCALE, SampledConfig
from factorbox.models.sampled_kernels import BIAS, BIAS_SQUARES, FACTOR_SQUARES, REST, arrange, train_cell
from factorbox.models.sampled_negatives import require_negatives
from factorbox.models.warm_start import TRAINED_ITEMS, check_start, generator_seed, marks
from factorbox.threads import Threads

_MOST_BLOCKS = 16
_ITEMS_IN_BLOCK = 64
"""Fewest items that negatives are drawn among."""
_PAIRS_IN_CELL = 4096
"""Fewest pairs, on average, that are worth handing to a thread."""


def blocks_for(*, items: int, pairs: int) -> int:
    """Return B, a power of two; it depends on the data alone, so that a model does not depend on the machine."""
    blocks = 1
    while (
        blocks < _MOST_BLOCKS and 2 * blocks * _ITEMS_IN_BLOCK <= items and (2 * blocks) ** 2 * _PAIRS_IN_CELL <= pairs
    ):
        blocks *= 2
    return blocks


def blocks_memory(*, users: int, items: int, pairs: int, embedding_dim: int) -> int:
    """Estimate the bytes that a `BlockTraining` needs, with a model to start from."""
    tables = 2 * 4 * (users + items) * (embedding_dim + REST)
    handed_out = 4 * 4 * (users + items)  # biases and s of a snapshot
    return tables + handed_out + 8 * pairs + 32 * items


@dataclass(frozen=True, eq=False)
class ItemBlocks:
    """Which items an epoch puts together: block and place of each item, and the items of each block."""

    block_of_item: NDArray[np.int32]
    place_of_item: NDArray[np.int32]
    items: tuple[NDArray[np.int32], ...]

    @classmethod
    def shuffled(cls, n_items: int, *, blocks: int, rng: np.random.Generator) -> ItemBlocks:
        """Deal the items out anew."""
        order = rng.permutation(np.arange(n_items, dtype=np.int32))
        edges = np.linspace(0, n_items, blocks + 1).astype(np.int64)
        block_of_item, place_of_item = np.empty((2, n_items), dtype=np.int32)
        items = []
        for block, (first, last) in enumerate(pairwise(edges)):
            own = np.sort(order[first:last])
            block_of_item[own] = block
            place_of_item[own] = np.arange(len(own), dtype=np.int32)
            items.append(own)
        return cls(block_of_item, place_of_item, tuple(items))


@dataclass(eq=False)
class _Side:
    """Vectors of users or items, (rows, d), and the rest of their rows, (rows, REST)."""

    factors: NDArray[np.float32]
    rest: NDArray[np.float32]

    @classmethod
    def initial(cls, rows: int, d: int, *, rng: np.random.Generator) -> _Side:
        factors = rng.standard_normal((rows, d), dtype=np.float32)
        factors *= np.float32(INITIAL_SCALE / math.sqrt(d))
        return cls(factors, np.zeros((rows, REST), dtype=np.float32))

    def is_finite(self) -> bool:
        # float64 holds the sum of any finite float32 numbers, and infinities and NaN stay what they are.
        return all(math.isfinite(values.sum(dtype=np.float64)) for values in (self.factors, self.rest))


class BlockTraining:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        loss: int,
        config: SampledConfig,
        random_state: int,
        threads: Threads,
        start: Factors | None,
    ) -> None:
        """Begin a training.

        Parameters
        ----------
        loss
            Its number in `factorbox.models.sampled_kernels`.
        """
        counts = interactions.by_user().counts
        require_negatives(bool(((counts > 0) & (counts < interactions.n_items)).any()))
        self._interactions, self._loss, self._config, self._threads = interactions, loss, config, threads
        self._seed = generator_seed(random_state, start=start)
        rng = np.random.default_rng(self._seed)
        self._users = _Side.initial(interactions.n_users, config.embedding_dim, rng=rng)
        self._items = _Side.initial(interactions.n_items, config.embedding_dim, rng=rng)
        self._has_pairs = marks(np.bincount(interactions.item_indices, minlength=interactions.n_items))

        self._blocks = blocks_for(items=interactions.n_items, pairs=interactions.n_pairs)
        cuts = np.linspace(0, interactions.n_pairs, self._blocks + 1).astype(np.int64)
        self._user_edges = np.searchsorted(interactions.indptr, cuts)
        self._user_edges[-1] = interactions.n_users
        self._pair_users = np.empty(interactions.n_pairs, dtype=np.int32)
        self._pair_places = np.empty(interactions.n_pairs, dtype=np.int32)
        self._cell_edges = np.empty((self._blocks, self._blocks + 1), dtype=np.int64)

    def resume(self, start: Factors, *, algorithm: str) -> None:
        """Go on from a model, except for items that have pairs now and had none."""
        users, items = (len(side.factors) for side in (self._users, self._items))
        check_start(
            start,
            algorithm=algorithm,
            user_factors=self._users.factors.shape,
            item_factors=self._items.factors.shape,
            state={TRAINED_ITEMS: (items,)}
            | {
                sums_name(f"{side}_{kind}"): (rows,)
                for side, rows in (("user", users), ("item", items))
                for kind in ("factors", "biases")
            },
        )
        known_items = (start.state[TRAINED_ITEMS] > 0) | (self._has_pairs == 0)
        known_users = np.ones(users, dtype=np.bool_)
        for name, side, rows in (("user", self._users, known_users), ("item", self._items, known_items)):
            np.copyto(side.factors, getattr(start, f"{name}_factors"), where=rows[:, None])
            for column, values in (
                (BIAS, getattr(start, f"{name}_biases")),
                (FACTOR_SQUARES, start.state[sums_name(f"{name}_factors")]),
                (BIAS_SQUARES, start.state[sums_name(f"{name}_biases")]),
            ):
                np.copyto(side.rest[:, column], values, where=rows)

    def sweep(self, epoch: int, watch: Watch) -> float | None:
        """Visit every pair once; return the mean loss, or None where the watch ended the sweep early."""
        rng = np.random.default_rng([self._seed, epoch])
        item_blocks = ItemBlocks.shuffled(len(self._items.factors), blocks=self._blocks, rng=rng)
        seeds = rng.integers(1 << 64, size=(self._blocks, self._blocks), dtype=np.uint64)
        self._threads.map(lambda block: self._arrange(block, item_blocks), range(self._blocks))
        totals = np.zeros((self._blocks, self._blocks, 2))  # loss and visited pairs, by diagonal and user block
        for diagonal in range(self._blocks):
            if watch.should_stop():
                return None

            def train(user_block: int, diagonal: int = diagonal) -> None:
                item_block = (user_block + diagonal) % self._blocks
                self._train_cell(
                    user_block,
                    item_block,
                    items=item_blocks.items[item_block],
                    seed=seeds[user_block, item_block],
                    totals=totals[diagonal, user_block],
                )

            self._threads.map(train, range(self._blocks))
            if not math.isfinite(totals[diagonal, :, 0].sum()):
                raise self._diverged("the training loss")
        loss, visited = totals.sum(axis=(0, 1))
        # A block may hold all items that its only users know.
        return float(loss / max(visited, 1.0))

    def _arrange(self, user_block: int, item_blocks: ItemBlocks) -> None:
        arrange(
            self._user_edges[user_block],
            self._user_edges[user_block + 1],
            self._interactions.indptr,
            self._interactions.item_indices,
            item_blocks.block_of_item,
            item_blocks.place_of_item,
            self._pair_users,
            self._pair_places,
            self._cell_edges[user_block],
        )

    def _train_cell(
        self,
        user_block: int,
        item_block: int,
        *,
        items: NDArray[np.int32],
        seed: np.uint64,
        totals: NDArray[np.float64],
    ) -> None:
        train_cell(
            self._cell_edges[user_block, item_block],
            self._cell_edges[user_block, item_block + 1],
            self._pair_users,
            self._pair_places,
            items,
            self._users.factors,
            self._items.factors,
            self._users.rest,
            self._items.rest,
            self._loss,
            self._config.candidates,
            float(self._config.learning_rate),
            float(self._config.regularization),
            seed,
            totals,
        )

    def _diverged(self, what: str) -> AlgorithmError:
        return AlgorithmError(
            f"{what} is no longer finite: lower learning_rate (now {self._config.learning_rate:g}), or"
            f" change regularization (now {self._config.regularization:g})"
        )

    def factors(self, epochs: int, train_loss: float) -> Factors:
        """Hand the parameters out, once they are known to be finite."""
        if not (self._users.is_finite() and self._items.is_finite()):
            raise self._diverged("a factor or bias")
        return Factors(
            user_factors=self._users.factors,
            item_factors=self._items.factors,
            user_biases=self._users.rest[:, BIAS].copy(),
            item_biases=self._items.rest[:, BIAS].copy(),
            epochs=epochs,
            train_loss=train_loss,
            state=self._state(),
        )

    def _state(self) -> Mapping[str, NDArray[np.float32]]:
        columns = {"factors": FACTOR_SQUARES, "biases": BIAS_SQUARES}
        sums = {
            sums_name(f"{name}_{kind}"): side.rest[:, column].copy()
            for name, side in (("user", self._users), ("item", self._items))
            for kind, column in columns.items()
        }
        return sums | {TRAINED_ITEMS: self._has_pairs}
