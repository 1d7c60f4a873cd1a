"""The sampled losses by torch: the readable reference, and what a GPU runs.

An epoch visits the pairs in random order, in batches. Negatives are drawn uniformly among all items that a user has not
seen; row-wise Adagrad (`factorbox.models.adagrad`) takes one step a batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import Table, Touched, sums_name, sums_of
from factorbox.models.base import Factors, Watch
from factorbox.models.sampled_config import INITIAL_SCALE, SampledConfig
from factorbox.models.sampled_losses import SampledLoss, in_blocks
from factorbox.models.sampled_negatives import UnseenItems
from factorbox.models.warm_start import TRAINED_ITEMS, check_start, generator_seed, marks


def batches_memory(*, users: int, items: int, pairs: int, config: SampledConfig) -> int:
    """Estimate the bytes that a `TorchTraining` needs, with a model to start from."""
    d, batch = config.embedding_dim, min(config.batch_size, max(pairs, 1))
    tables = 2 * 4 * (users + items) * (d + 3)  # vector and bias, each with its Adagrad state
    # Most when they are laid out: user, item, keys of the unseen, and a column that comes and goes.
    per_pair = 8 + 4 + 8 + 20
    # Vectors of the batch, and their gradients; or those of the candidates, and their products.
    vectors = max(12, 5 + 2 * config.candidates)
    return tables + 32 * (users + items) + per_pair * pairs + batch * (4 * d * vectors + 64 * (3 + config.candidates))


class TorchTraining:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        loss: SampledLoss,
        config: SampledConfig,
        random_state: int,
        device: torch.device,
        start: Factors | None,
    ) -> None:
        self._loss, self._config, self._device = loss, config, device
        self._generator = torch.Generator(device).manual_seed(generator_seed(random_state, start=start))
        self._unseen = UnseenItems(interactions, device=device)

        # (pairs,)
        self._users = torch.from_numpy(np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))).to(
            device
        )
        self._items = torch.tensor(interactions.item_indices, device=device)  # (pairs,)
        usable = self._unseen.usable(self._users)
        if not usable.all():
            # One after the other, so that only one of them is there twice.
            self._users = self._users[usable]
            self._items = self._items[usable]

        self._user_factors = self._initial(interactions.n_users)
        self._item_factors = self._initial(interactions.n_items)
        self._user_biases = Table(torch.zeros(interactions.n_users, 1, device=device))
        self._item_biases = Table(torch.zeros(interactions.n_items, 1, device=device))
        self._has_pairs = marks(np.bincount(interactions.item_indices, minlength=interactions.n_items))

    @property
    def _tables(self) -> dict[str, Table]:
        """The parameters by their names in `Factors`."""
        return {
            "user_factors": self._user_factors,
            "item_factors": self._item_factors,
            "user_biases": self._user_biases,
            "item_biases": self._item_biases,
        }

    def resume(self, start: Factors, *, algorithm: str) -> None:
        """Go on from a model, except for items that have pairs now and had none."""
        check_start(
            start,
            algorithm=algorithm,
            user_factors=tuple(self._user_factors.values.shape),
            item_factors=tuple(self._item_factors.values.shape),
            state={TRAINED_ITEMS: self._has_pairs.shape}
            | {sums_name(name): tuple(table.squares.shape) for name, table in self._tables.items()},
        )
        known_items = (start.state[TRAINED_ITEMS] > 0) | (self._has_pairs == 0)
        for name, table in self._tables.items():
            rows = known_items if name.startswith("item") else None
            table.resume(getattr(start, name), squares=start.state[sums_name(name)], rows=rows)

    def _initial(self, rows: int) -> Table:
        d = self._config.embedding_dim
        values = torch.randn(rows, d, generator=self._generator, device=self._device)
        return Table(values.mul_(INITIAL_SCALE / math.sqrt(d)))

    def sweep(self, _: int, watch: Watch) -> float | None:
        """Visit every pair once; return the mean loss, or None where the watch ended the sweep early."""
        order = torch.randperm(len(self._users), generator=self._generator, device=self._device)
        total = 0.0
        for batch in torch.split(order, self._config.batch_size):
            if watch.should_stop():
                return None
            loss = self._step(self._users.index_select(0, batch), self._items.index_select(0, batch).long())
            # Summed by numpy in an order of its own: torch's sum depends on the number of threads.
            total += float(np.sum(loss.cpu().numpy(), dtype=np.float64))
            if not math.isfinite(total):
                raise self._diverged("the training loss")
        return total / len(order)

    def _step(self, u: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        """Take one step for the pairs (u, i) of a batch; return the loss of each before the step."""
        users, items, config = self._user_factors, self._item_factors, self._config
        w_u, h_i = users.at(u), items.at(i)  # (batch, d)
        j = self._negatives(u, w_u)
        h_j = items.at(j)
        b_u = self._user_biases.at(u)  # (batch, 1)
        x_ui = (w_u * h_i).sum(dim=1) + (b_u + self._item_biases.at(i))[:, 0]
        x_uj = (w_u * h_j).sum(dim=1) + (b_u + self._item_biases.at(j))[:, 0]
        loss, slope_i, slope_j = in_blocks(self._loss, x_ui, x_uj)

        a_i, a_j = slope_i[:, None], slope_j[:, None]  # (batch, 1)
        touched_users, touched_items = Touched(u), Touched(torch.cat([i, j]))
        of_users = dict(learning_rate=config.learning_rate, penalties=config.regularization * touched_users.times)
        of_items = dict(learning_rate=config.learning_rate, penalties=config.regularization * touched_items.times)
        users.step(touched_users, a_i * h_i + a_j * h_j, **of_users)
        items.step(touched_items, torch.cat([a_i * w_u, a_j * w_u]), **of_items)
        self._user_biases.step(touched_users, a_i + a_j, **of_users)
        self._item_biases.step(touched_items, torch.cat([a_i, a_j]), **of_items)
        return loss

    def _negatives(self, u: torch.Tensor, w_u: torch.Tensor) -> torch.Tensor:
        """Draw an unseen item for each user, or the highest scored of several of that same user."""
        candidates = self._config.candidates
        if candidates == 1:
            return self._unseen.draw(u, generator=self._generator)
        drawn = self._unseen.draw(u[:, None].expand(-1, candidates), generator=self._generator)
        h = self._item_factors.at(drawn.flatten()).view(len(u), candidates, -1)
        b = self._item_biases.at(drawn.flatten()).view(len(u), candidates)
        scores = (w_u[:, None, :] * h).sum(dim=2) + b  # (batch, candidates)
        return drawn.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]

    def _diverged(self, what: str) -> AlgorithmError:
        return AlgorithmError(
            f"{what} is no longer finite: lower learning_rate (now {self._config.learning_rate:g}), or "
            f"raise regularization (now {self._config.regularization:g}) or batch_size "
            f"(now {self._config.batch_size})"
        )

    def factors(self, epochs: int, train_loss: float) -> Factors:
        """Hand the parameters out, once they are known to be finite."""
        for table in self._tables.values():
            if not table.values.isfinite().all():
                raise self._diverged("a factor or bias")
        return Factors(
            user_factors=self._user_factors.values.cpu().numpy(),
            item_factors=self._item_factors.values.cpu().numpy(),
            user_biases=self._user_biases.values[:, 0].cpu().numpy(),
            item_biases=self._item_biases.values[:, 0].cpu().numpy(),
            epochs=epochs,
            train_loss=train_loss,
            state=sums_of(self._tables) | {TRAINED_ITEMS: self._has_pairs},
        )
