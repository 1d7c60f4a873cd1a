"""One training of `explicit`: its parameters, and the steps that they take."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import Table, Touched, reproducible, sums_name, sums_of
from factorbox.models.base import Device, Factors, Watch
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.rating_losses import Target
from factorbox.models.rating_slopes import LOSSES
from factorbox.models.row_system import frequency_penalties
from factorbox.models.warm_start import check_start, generator_seed

_INITIAL_SCALE = 0.1
"""Length of an average initial vector: small, so that biases, which start at 0, are learned first."""

_LARGEST_PENALTY = 1e18
"""What a rating pays at most in training: float32 holds the square."""


def fit(
    interactions: Interactions,
    *,
    config: ExplicitConfig,
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model but for the last half-sweep; see `factorbox.models.explicit.ExplicitFactorization.fit`."""
    place = torch.device("cuda" if device == "cuda" else "cpu")
    with reproducible(threads, place), torch.inference_mode():
        training = Training(interactions, config=config, random_state=random_state, device=place, start=start)
        return fitted_by_epochs(
            lambda epoch, watch: training.sweep(epoch, watch=watch),
            training.factors,
            epochs=config.planned_epochs,
            watch=watch,
            start=start,
        )


class Training:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        config: ExplicitConfig,
        random_state: int,
        device: torch.device,
        start: Factors | None,
    ) -> None:
        self._config, self._device, self._loss = config, device, LOSSES[config.loss]
        self._generator = torch.Generator(device).manual_seed(generator_seed(random_state, start=start))
        self._target = Target.of(
            interactions.weights, loss=config.loss, like_above=config.like_above, has_mean=config.biases
        )

        user_counts = interactions.by_user().counts
        pair_users = np.repeat(np.arange(interactions.n_users), user_counts)
        self._users = torch.from_numpy(pair_users).to(device)  # (ratings,)
        self._items = torch.from_numpy(interactions.item_indices.astype(np.int64)).to(device)  # (ratings,)
        self._values = torch.tensor(self._target.values, device=device)  # (ratings,)
        item_counts = np.bincount(interactions.item_indices, minlength=interactions.n_items)
        self._user_penalties, self._item_penalties = self._penalties(user_counts), self._penalties(item_counts)
        self._user_factors = self._initial(interactions.n_users)
        self._item_factors = self._initial(interactions.n_items)
        self._user_biases = Table(torch.zeros(interactions.n_users, 1, device=device))
        self._item_biases = Table(torch.zeros(interactions.n_items, 1, device=device))
        if start is not None:
            self._resume(start)

    @property
    def _tables(self) -> dict[str, Table]:
        """The parameters by their names in `Factors`."""
        return {
            "user_factors": self._user_factors,
            "item_factors": self._item_factors,
            "user_biases": self._user_biases,
            "item_biases": self._item_biases,
        }

    def _resume(self, start: Factors) -> None:
        """Go on from a model; rows that took no step, for want of ratings, keep what was drawn."""
        tables = self._tables
        check_start(
            start,
            algorithm="explicit",
            user_factors=tuple(self._user_factors.values.shape),
            item_factors=tuple(self._item_factors.values.shape),
            state={sums_name(name): tuple(table.squares.shape) for name, table in tables.items()},
        )
        for name, table in tables.items():
            # In units of the standard deviation of these ratings, as they are fitted.
            unit = 1.0 if name == "item_factors" else self._target.scale
            moved = start.state[sums_name(name.replace("biases", "factors"))] > 0
            table.resume(getattr(start, name) / unit, squares=start.state[sums_name(name)], rows=moved)

    def _penalties(self, counts: NDArray[np.int64]) -> torch.Tensor:
        """Return what each rating of a row pays: λ (|S| + n₀) / |S|.  # (rows, 1)."""
        whole = frequency_penalties(
            counts, offset=self._config.frequency_offset, regularization=self._config.regularization, exponent=1.0
        )
        each = np.minimum(whole / np.maximum(counts, 1), _LARGEST_PENALTY)
        return torch.from_numpy(each.astype(np.float32)).to(self._device)[:, None]

    def _initial(self, rows: int) -> Table:
        d = self._config.embedding_dim
        values = torch.randn(rows, d, generator=self._generator, device=self._device)
        return Table(values.mul_(_INITIAL_SCALE / math.sqrt(d)))

    def sweep(self, epoch: int, *, watch: Watch) -> float | None:
        """Visit every rating once; return the mean loss, or None where the watch ended the sweep early."""
        learning_rate = self._config.schedule.at(epoch)
        order = torch.randperm(len(self._users), generator=self._generator, device=self._device)
        total = 0.0
        for batch in torch.split(order, self._config.batch_size):
            if watch.should_stop():
                return None
            loss = self._step(batch, learning_rate=learning_rate)
            # Summed by numpy in an order of its own: torch's sum depends on the number of threads.
            total += float(np.sum(loss.cpu().numpy(), dtype=np.float64))
            if not math.isfinite(total):
                raise self._diverged("the training loss")
        return self._target.loss_unit * (total / len(order))

    def _step(self, batch: torch.Tensor, *, learning_rate: float) -> torch.Tensor:
        """Take one step for some ratings; return the loss of each before the step."""
        u, i = self._users.index_select(0, batch), self._items.index_select(0, batch)
        w, h = self._user_factors.at(u), self._item_factors.at(i)  # (batch, d)
        biases = (self._user_biases.at(u) + self._item_biases.at(i))[:, 0]  # zeros for a model without
        x = (w * h).sum(dim=1) + biases + self._target.start
        loss, slope = self._loss.in_blocks(x, self._values.index_select(0, batch))

        a = slope[:, None]  # (batch, 1)
        users, items = Touched(u), Touched(i)
        of_users = dict(learning_rate=learning_rate, penalties=self._user_penalties[users.rows] * users.times)
        of_items = dict(learning_rate=learning_rate, penalties=self._item_penalties[items.rows] * items.times)
        self._user_factors.step(users, a * h, **of_users)
        self._item_factors.step(items, a * w, **of_items)
        if self._config.biases:
            self._user_biases.step(users, a, **of_users)
            self._item_biases.step(items, a, **of_items)
        return loss

    def _diverged(self, what: str) -> AlgorithmError:
        return AlgorithmError(
            f"{what} is no longer finite: lower learning_rate (now {self._config.learning_rate}), or "
            f"raise regularization (now {self._config.regularization:g}) or batch_size (now {self._config.batch_size})"
        )

    def factors(self, epochs: int, train_loss: float) -> Factors:
        """Hand the parameters out in units of the ratings, once they are known to be finite."""
        scale = self._target.scale
        factors = Factors(
            user_factors=_scaled(self._user_factors.values, scale),
            item_factors=_scaled(self._item_factors.values, 1.0),
            user_biases=_scaled(self._user_biases.values[:, 0], scale),
            item_biases=_scaled(self._item_biases.values[:, 0], scale),
            epochs=epochs,
            train_loss=train_loss,
            global_mean=self._target.mean,
            fold_in={"listed_value": self._target.listed_value},
            state=sums_of(self._tables),
        )
        # Users' rows are solved anew in the end.
        if not (np.isfinite(factors.item_factors).all() and np.isfinite(factors.item_biases).all()):
            raise self._diverged("a factor or bias")
        return factors


def _scaled(values: torch.Tensor, scale: float) -> NDArray[np.float32]:
    """Return values times a scale; the memory of the training itself where that changes nothing."""
    given = values.cpu().numpy()
    with np.errstate(over="ignore"):
        return given if scale == 1 else (given.astype(np.float64) * scale).astype(np.float32)
