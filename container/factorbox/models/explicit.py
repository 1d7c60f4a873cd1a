"""Biased matrix factorization of ratings: `explicit`.

What a user thinks of an item is predicted by x̂_ui = μ + b_u + b_i + w_u·h_i: the rating itself for the squared loss,
the log-odds of a like for the logistic loss, the logarithm of the expected count for the Poisson loss (Koren, Bell,
Volinsky 2009, "Matrix Factorization Techniques for Recommender Systems"). It is what a factorization machine of order
2 makes of the one-hot codes of user and item (Rendle 2010, "Factorization Machines", section V-A): its weight of order
0 is μ, those of order 1 are b_u and b_i, and the only two features that are not 0 interact by w_u·h_i.
With `biases=false` only the dot product is left, and n₀ below is 0.

With S_u the ratings of a user and S_i those of an item, and n₀ a constant, it minimises

    Σ_(u,i) loss(x̂_ui, r_ui) + λ/2 ( Σ_u (|S_u| + n₀) (|w_u|² + b_u²) + Σ_i (|S_i| + n₀) (|h_i|² + b_i²) )

so each rating pays λ for the rows it touches (Zhou, Wilkinson, Schreiber, Pan 2008, "Large-Scale Parallel Collaborative
Filtering for the Netflix Prize"), and a row of few ratings is not trusted whole. μ stays what it is without the rest.
The squared loss is minimised for ratings less μ, divided by their standard deviation s, so that the hyperparameters
mean the same on every scale; a user's factors and all biases are handed out times s, in units of the ratings.

An epoch visits each rating once, in random order and in batches, by row-wise Adagrad (`factorbox.models.adagrad`). At
the end every user's row is solved exactly (`factorbox.models.explicit_rows`), as it is when a user is folded in.

The same code runs on a processor and on a GPU (there unmeasured). Nothing in it depends on the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.feedback import COUNTS, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import Table, Touched, reproducible
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.explicit_rows import rows_memory, solve_rows
from factorbox.models.rating_losses import LOSSES, Target, check_ratings
from factorbox.models.row_system import RatingLoss, RowSystem, frequency_penalties

_INITIAL_SCALE = 0.1
"""Length of an average initial vector: small, so that biases, which start at 0, are learned first."""

_FREQUENCY_OFFSET = 50.0
"""n₀, chosen by measurement like the defaults; 0 without biases, where there is no mean for a row to shrink to."""

_LARGEST_PENALTY = 1e18
"""What a rating pays at most in training: float32 holds the square."""


class ExplicitFactorization:
    """The algorithm `explicit` (see `factorbox.models.base.Algorithm`)."""

    name = "explicit"
    config = ExplicitConfig
    explains = True

    def feedback(self, config: ExplicitConfig) -> Feedback:
        """Return that weights are ratings, which the Poisson loss wants to be at least 0."""
        return COUNTS if config.loss == "poisson" else RATINGS

    def link(self, config: ExplicitConfig) -> Link:
        """Return what makes a rating, a probability or an expected count of x̂."""
        return LOSSES[config.loss].link

    def resolved(self, config: ExplicitConfig, *, interactions: Interactions) -> ExplicitConfig:
        """Fill in the epochs, and check that labels can be made of the ratings.

        Raises
        ------
        UserError
            Where the ratings do not suit the loss; see `factorbox.models.rating_losses.check_ratings`.
        """
        check_ratings(interactions, loss=config.loss, like_above=config.like_above)
        return replace(config, epochs=config.planned_epochs)

    def fit(
        self,
        interactions: Interactions,
        *,
        config: ExplicitConfig,
        random_state: int,
        threads: int = 1,
        device: Device = "cpu",
        watch: Watch = Watch(),
    ) -> Factors:
        """Fit a model; see `factorbox.models.base.Algorithm.fit`.

        Raises
        ------
        UserError
            Where the ratings are no labels, and the loss is one of labels.
        AlgorithmError
            Where the loss or a factor stops being finite.
        """
        config = self.resolved(config, interactions=interactions)
        place = torch.device("cuda" if device == "cuda" else "cpu")
        with reproducible(threads, place), torch.inference_mode():
            training = _Training(interactions, config=config, random_state=random_state, device=place)

            def factors(epochs: int, train_loss: float) -> Factors:
                side = training.item_side()
                users, biases = solve_rows(self.row_system(config, side), interactions.by_user(), threads=threads)
                return Factors(
                    user_factors=users,
                    item_factors=side.item_factors,
                    user_biases=biases,
                    item_biases=side.item_biases,
                    epochs=epochs,
                    train_loss=train_loss,
                    global_mean=side.global_mean,
                    fold_in=side.fold_in,
                )

            return fitted_by_epochs(
                lambda epoch, watch: training.sweep(epoch, watch=watch),
                factors,
                epochs=config.planned_epochs,
                watch=watch,
            )

    def row_system(self, config: ExplicitConfig, items: ItemSide) -> RowSystem:
        """Return the problem that the end of `fit` solves for each user."""
        m = items.item_factors.shape[1] + config.biases
        offsets = (items.global_mean + items.item_biases.astype(np.float64)).astype(np.float32)
        return RowSystem(
            item_factors=items.item_factors,
            has_bias=config.biases,
            gram=np.zeros((m, m)),
            constant=np.zeros(m),
            targets=-offsets,
            offsets=offsets,
            alpha=None,
            regularization=config.regularization,
            frequency_offset=_offset(config),
            regularization_exponent=1.0,
            ratings=True,
            loss=cast(RatingLoss, config.loss),
            like_above=config.like_above,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: ExplicitConfig) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        d = config.embedding_dim
        tables = 4 * (users + items) * (d + 4)  # vector and bias, each with its Adagrad state, and the penalty
        handed_out = 4 * (users + items) * (d + 1)
        per_pair = 8 + 8 + 4 + 8  # user, item, value, order
        batch = (4 * d * 10 + 8 * 14) * min(config.batch_size, max(pairs, 1))
        return tables + handed_out + per_pair * pairs + max(batch, rows_memory(embedding_dim=d))


def _offset(config: ExplicitConfig) -> float:
    return _FREQUENCY_OFFSET if config.biases else 0.0


class _Training:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self, interactions: Interactions, *, config: ExplicitConfig, random_state: int, device: torch.device
    ) -> None:
        self._config, self._device, self._loss = config, device, LOSSES[config.loss]
        self._generator = torch.Generator(device).manual_seed(random_state)
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

    def _penalties(self, counts: NDArray[np.int64]) -> torch.Tensor:
        """Return what each rating of a row pays: λ (|S| + n₀) / |S|.  # (rows, 1)."""
        whole = frequency_penalties(
            counts, offset=_offset(self._config), regularization=self._config.regularization, exponent=1.0
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

    def item_side(self) -> ItemSide:
        """Hand the items out, once they are known to be finite."""
        factors = self._item_factors.values.cpu().numpy().copy()
        scaled = self._item_biases.values[:, 0].cpu().numpy().astype(np.float64) * self._target.scale
        biases = scaled.astype(np.float32)
        if not (np.isfinite(factors).all() and np.isfinite(biases).all()):
            raise self._diverged("a factor or bias")
        constants = {"listed_value": self._target.listed_value}
        return ItemSide(factors, biases, global_mean=self._target.mean, fold_in=constants)


EXPLICIT = ExplicitFactorization()
