"""One training of `softmax`: its parameters, and the steps that they take.

The derivatives of the losses by all scores stand in one matrix G (users of the step, candidates), from which both sides
get their gradients by a product (`factorbox.models.softmax_slopes`). A step first works off its users in parts of fixed
size and then its candidates in blocks of fixed size, each by one thread alone, so nothing depends on the number of
threads.

For cosines all vectors have the length τ^−½, so that a dot product is a cosine over the temperature. They move along
the part of their gradient that is tangent to the sphere, and are brought back to it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.adagrad import Table, reproducible, sums_name, sums_of
from factorbox.models.base import Device, Factors, Watch
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.softmax_config import SoftmaxConfig, rate_of
from factorbox.models.softmax_slopes import slopes
from factorbox.models.warm_start import TRAINED_ITEMS, check_start, generator_seed, marks
from factorbox.threads import Threads

_PART = 32
"""Users that one thread works off at a time."""
_BLOCK = 1024
"""Candidates that one thread works off at a time; a multiple of 16, so that a block begins where 64 bytes do."""

_INITIAL_LENGTH = 0.1
"""Length of an average initial vector where it may have any: small, so that biases, which start at 0, come first."""


def fit(
    interactions: Interactions,
    *,
    config: SoftmaxConfig,
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model; see `factorbox.models.softmax.Softmax.fit`."""
    place = torch.device("cuda" if device == "cuda" else "cpu")
    # One thread here: all products are of the pool's threads, block by block.
    with reproducible(1, place), torch.inference_mode(), Threads(threads) as pool:
        training = Training(interactions, config=config, random_state=random_state, device=place, pool=pool)
        if start is not None:
            training.resume(start, algorithm="softmax")
        return fitted_by_epochs(
            lambda _, watch: training.sweep(watch), training.factors, epochs=config.epochs, watch=watch, start=start
        )


class Candidates(NamedTuple):
    """The items that take part in a step.

    Attributes
    ----------
    items
        Their indices, sorted, (candidates,); None where all items take part.
    columns
        int64, (pairs of the step,): where the item of each pair stands among them.
    weights
        1 / π, (candidates,); None where all items take part.
    """

    items: torch.Tensor | None
    columns: torch.Tensor
    weights: torch.Tensor | None


class Training:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        config: SoftmaxConfig,
        random_state: int,
        device: torch.device,
        pool: Threads,
        start: Factors | None = None,
    ) -> None:
        self._config, self._device, self._pool = config, device, pool
        self._generator = torch.Generator(device).manual_seed(generator_seed(random_state, start=start))
        n_users, n_items = interactions.n_users, interactions.n_items
        counts = np.diff(interactions.indptr)
        learners = np.flatnonzero((counts > 0) & (counts < n_items))
        if not len(learners):
            raise UserError(
                "every user has interacted with every item, so there are no negatives to learn from: "
                "train with algorithm=als, or give data in which users have chosen"
            )
        self._learning_rate = rate_of(config, interactions=interactions)
        self._learners = torch.from_numpy(learners).to(device)
        self._starts = torch.tensor(interactions.indptr[:-1]).to(device)  # (users,)
        self._counts = torch.tensor(counts).to(device)  # (users,)
        self._items = torch.from_numpy(interactions.item_indices.astype(np.int64)).to(device)  # (pairs,)
        self._item_counts = np.bincount(interactions.item_indices, minlength=n_items)
        self._shares = torch.from_numpy(self._item_counts / max(n_users - 1, 1)).clamp_(max=1.0).to(device)
        self._places = torch.zeros(n_items, dtype=torch.int64, device=device)
        self._has_pairs = marks(self._item_counts)
        self._drawn = config.drawn(items=n_items)
        self._memory = torch.empty(0, device=device)

        self._length = config.temperature**-0.5
        self._user_vectors, self._item_vectors = self._initial(n_users), self._initial(n_items)
        # Whoever has nothing has no taste: without factors the biases rank, which is by popularity.
        self._user_vectors.values.index_fill_(0, torch.from_numpy(np.flatnonzero(counts == 0)).to(device), 0.0)
        self._item_biases = Table(torch.zeros(n_items, 1, device=device))

    @property
    def _tables(self) -> dict[str, Table]:
        """The parameters by their names in `Factors`."""
        return {
            "user_factors": self._user_vectors,
            "item_factors": self._item_vectors,
            "item_biases": self._item_biases,
        }

    def _initial(self, rows: int) -> Table:
        d = self._config.embedding_dim
        values = torch.randn(rows, d, generator=self._generator, device=self._device)
        if self._config.cosine:
            return Table(self._on_sphere(values))
        return Table(values.mul_(_INITIAL_LENGTH / math.sqrt(d)))

    def resume(self, start: Factors, *, algorithm: str) -> None:
        """Go on from a model, except for users and items that have pairs now and had none."""
        check_start(
            start,
            algorithm=algorithm,
            user_factors=tuple(self._user_vectors.values.shape),
            item_factors=tuple(self._item_vectors.values.shape),
            state={TRAINED_ITEMS: self._has_pairs.shape}
            | {sums_name(name): tuple(table.squares.shape) for name, table in self._tables.items()},
        )
        known_items = (start.state[TRAINED_ITEMS] > 0) | (self._has_pairs == 0)
        known_users = np.asarray(start.user_factors.any(axis=1))
        for name, table in self._tables.items():
            rows = known_items if name.startswith("item") else known_users
            table.resume(getattr(start, name), squares=start.state[sums_name(name)], rows=rows)

    def sweep(self, watch: Watch) -> float | None:
        """Visit every user once; return the mean loss of a pair, or None where the watch ended the sweep early."""
        order = torch.randperm(len(self._learners), generator=self._generator, device=self._device)
        total, pairs = 0.0, 0
        for batch in torch.split(self._learners.index_select(0, order), self._config.batch_size):
            if watch.should_stop():
                return None
            losses = self._step(batch)
            total, pairs = total + float(np.sum(losses, dtype=np.float64)), pairs + len(losses)
            if not math.isfinite(total):
                raise self._diverged("the training loss")
        return total / pairs

    def _step(self, u: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Take one step for some users; return the loss of each of their pairs before the step."""
        config = self._config
        counts = self._counts.index_select(0, u)
        ends = counts.cumsum(0)
        rows = torch.repeat_interleave(counts)  # (pairs of the step,)
        within = torch.arange(len(rows), device=self._device) - (ends - counts).index_select(0, rows)
        i = self._items.index_select(0, self._starts.index_select(0, u).index_select(0, rows) + within)
        candidates = self._candidates(i, n_users=len(u))

        chosen = candidates.items
        h = self._item_vectors.values if chosen is None else self._item_vectors.at(chosen)  # (candidates, d)
        b = (self._item_biases.values if chosen is None else self._item_biases.at(chosen))[:, 0]  # (candidates,)
        w = self._user_vectors.at(u)  # (batch, d)
        G = self._matrix(len(u), len(h))
        a = counts.to(torch.float32).rsqrt()
        edges = [0, *ends.tolist()]

        def of_users(first: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            last = min(first + _PART, len(u))
            own, pairs = slice(first, last), slice(edges[first], edges[last])
            with torch.inference_mode():
                at = (rows[pairs] - first) * len(h) + candidates.columns[pairs]
                x = torch.mm(w[own], h.T, out=G[own]).add_(b)
                losses = slopes(x, rows=rows[pairs] - first, at=at, a=a[own], weights=candidates.weights)
                gradients = torch.mm(G[own], h)
                penalties = config.regularization * a[own] * counts[own]
                self._move(self._user_vectors, u[own], w[own], gradients, penalties=penalties)
            return np.asarray(losses.cpu().numpy())

        losses = self._pool.map(of_users, range(0, len(u), _PART))
        penalties = torch.zeros(len(h), device=self._device)
        if not config.cosine:
            penalties.index_add_(0, candidates.columns, config.regularization * a.index_select(0, rows))
        every = torch.arange(len(h), device=self._device) if chosen is None else chosen

        def of_items(first: int) -> None:
            own = slice(first, min(first + _BLOCK, len(h)))
            with torch.inference_mode():
                gradients = torch.mm(G[:, own].T, w)
                of_biases = G[:, own].sum(dim=0)[:, None]
                before = b[own, None].clone()
                self._move(self._item_vectors, every[own], h[own], gradients, penalties=penalties[own])
                of_biases += penalties[own, None] * before
                after = before - self._step_along(self._item_biases, every[own], of_biases)
                self._item_biases.values.index_copy_(0, every[own], after)

        self._pool.map(of_items, range(0, len(h), _BLOCK))
        return np.concatenate(losses)

    def _matrix(self, rows: int, columns: int) -> torch.Tensor:
        """Return memory for G, the same in every step: fresh pages cost more than the product."""
        if len(self._memory) < rows * columns:
            self._memory = torch.empty(rows * columns, device=self._device)
        return self._memory[: rows * columns].view(rows, columns)

    def _candidates(self, i: torch.Tensor, *, n_users: int) -> Candidates:
        """Choose the items that a step of so many users takes part with, whose pairs have the items `i`."""
        if self._drawn is None:
            return Candidates(None, i, None)
        n_items = len(self._places)
        drawn = torch.randint(n_items, (self._drawn,), generator=self._generator, device=self._device)
        items = torch.unique(torch.cat([i, drawn]))
        self._places.index_copy_(0, items, torch.arange(len(items), device=self._device))
        # That neither one of the other users has it, nor one of the draws hits it.
        absent = (1 - self._shares.index_select(0, items)).pow_(n_users - 1).mul_((1 - 1 / n_items) ** self._drawn)
        return Candidates(items, self._places.index_select(0, i), (1 / (1 - absent)).to(torch.float32))

    def _move(
        self, table: Table, rows: torch.Tensor, before: torch.Tensor, g: torch.Tensor, *, penalties: torch.Tensor
    ) -> None:
        """Move vectors, (rows, d), along their gradients; for cosines, on the sphere."""
        if self._config.cosine:
            g -= (g * before).sum(dim=1, keepdim=True).mul_(self._config.temperature) * before
            moved = self._on_sphere(before - self._length * self._step_along(table, rows, g))
        else:
            moved = before - self._step_along(table, rows, g.add_(penalties[:, None] * before))
        table.values.index_copy_(0, rows, moved)

    def _step_along(self, table: Table, rows: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Return the step of row-wise Adagrad (`factorbox.models.adagrad`) in distinct rows.  # (rows, d)."""
        squares = table.squares.index_select(0, rows).add_((g * g).mean(dim=1))
        table.squares.index_copy_(0, rows, squares)
        rates = self._learning_rate / squares.sqrt().clamp_min(torch.finfo(squares.dtype).tiny)
        return rates[:, None] * g

    def _on_sphere(self, vectors: torch.Tensor) -> torch.Tensor:
        """Give each row the length τ^−½, in place."""
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        return vectors.div_(lengths.clamp_min_(torch.finfo(vectors.dtype).tiny)).mul_(self._length)

    def _diverged(self, what: str) -> AlgorithmError:
        return AlgorithmError(
            f"{what} is no longer finite: lower learning_rate (now {self._learning_rate:g}), or raise"
            f" temperature (now {self._config.temperature:g}), regularization (now {self._config.regularization:g}) or"
            f" batch_size (now {self._config.batch_size})"
        )

    def factors(self, epochs: int, train_loss: float) -> Factors:
        """Hand the parameters out, once they are known to be finite."""
        for table in self._tables.values():
            if not table.values.isfinite().all():
                raise self._diverged("a factor or bias")
        users = self._user_vectors.values.cpu().numpy()
        return Factors(
            user_factors=users,
            item_factors=self._item_vectors.values.cpu().numpy(),
            user_biases=np.zeros(len(users), dtype=np.float32),
            item_biases=self._item_biases.values[:, 0].cpu().numpy(),
            epochs=epochs,
            train_loss=train_loss,
            state=sums_of(self._tables) | {TRAINED_ITEMS: self._has_pairs},
        )
