"""A small network as a scorer: `mlp`.

The embeddings of a user and an item are concatenated and go through dropout, a linear layer, relu, dropout (more of
these for more `hidden_sizes`) and a linear layer with one output (He, Liao, Zhang, Nie, Hu, Chua 2017, "Neural
Collaborative Filtering", section 3.3). With n_u and n_i the samples of a user and an item, training minimises

    Σ_samples [ loss(y, x̂_ui) + λ/2 (|e_u|² + |e_i|² + Σ |W|²) ],   x̂_ui = μ + net([e_u; e_i])

in batches by Adam. For `pointwise` the samples are the distinct pairs of the data with y = 1, and for each of them some
items that the user has not seen, drawn uniformly, with y = 0; the loss is that of σ(x̂), and μ = 0. For the losses of
ratings μ is fitted first: the x̂ of the mean rating. With squared errors the network fits (r − μ) / s, where s is the
standard deviation of the ratings, so that no option depends on their scale.

What is handed out has no embeddings: the first layer is linear in them, so `user_factors` and `item_factors` are its
input from each side (`factorbox.models.network`).

The samples of a batch are worked off in parts of fixed size, each on one thread and with random numbers of its own,
and the rest on one thread, so that nothing depends on the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.feedback import COUNTS, PAIRS, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import Touched, reproducible
from factorbox.models.adam import AdamTable
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.mlp_config import MLPConfig
from factorbox.models.mlp_network import Gradients, Network
from factorbox.models.network import NetworkProblem
from factorbox.models.rating_losses import LOSSES, Target, check_ratings
from factorbox.models.sampled_negatives import UnseenItems
from factorbox.threads import Threads

_PART = 1024
"""Samples that one thread works off at a time."""

_INITIAL_SCALE = 0.1
"""Standard deviation of the embeddings' first numbers."""

_PRIOR_WEIGHT = 0.03
"""Weight of the prior of users' rows in fold-in, chosen by measurement."""
_LEAST_VARIANCE = 0.01
"""Share of the mean variance that every number of a user's row is taken to have at least."""
_LEAST_NOISE = 0.01
"""Share of the variance of ratings that the network is taken to leave unexplained at least."""


class MLP:
    """The algorithm `mlp` (see `factorbox.models.base.Algorithm`)."""

    name = "mlp"
    config = MLPConfig
    explains = False

    def feedback(self, config: MLPConfig) -> Feedback:
        """Return what the loss takes weights for: nothing, ratings, or counts."""
        return {"pointwise": PAIRS, "poisson": COUNTS}.get(config.loss, RATINGS)

    def link(self, config: MLPConfig) -> Link:
        """Return what makes a rating, a probability or an expected count of x̂."""
        return "identity" if config.loss == "pointwise" else LOSSES[config.loss].link

    def resolved(self, config: MLPConfig, *, interactions: Interactions) -> MLPConfig:
        """Return the configuration as it is: no default depends on the data.

        Raises
        ------
        UserError
            Where the ratings do not suit the loss; see `factorbox.models.rating_losses.check_ratings`.
        """
        check_ratings(interactions, loss=config.loss, like_above=config.like_above)
        return config

    def fit(
        self,
        interactions: Interactions,
        *,
        config: MLPConfig,
        random_state: int,
        threads: int = 1,
        device: Device = "cpu",
        watch: Watch = Watch(),
    ) -> Factors:
        """Fit a model; see `factorbox.models.base.Algorithm.fit`.

        Raises
        ------
        UserError
            Where the ratings are no labels, and the loss is one of labels; with loss=pointwise, where every user has
            every item, so that there are no negatives.
        AlgorithmError
            Where the loss or a weight stops being finite.
        """
        config = self.resolved(config, interactions=interactions)
        place = torch.device("cuda" if device == "cuda" else "cpu")
        with reproducible(1, place), torch.inference_mode(), Threads(threads) as pool:
            training = _Training(interactions, config=config, random_state=random_state, device=place, pool=pool)
            return fitted_by_epochs(
                lambda _, watch: training.sweep(watch), training.factors, epochs=config.epochs, watch=watch
            )

    def row_system(self, config: MLPConfig, items: ItemSide) -> NetworkProblem:
        """Return the problem whose solution is the row of a user who was not in training."""
        return NetworkProblem(
            item_factors=items.item_factors,
            layers=items.layers,
            global_mean=items.global_mean,
            loss=config.network_loss,
            like_above=config.like_above,
            num_negative_samples=config.negatives,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: MLPConfig) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        d, sizes = config.embedding_dim, config.sizes
        tables = 3 * 4 * (users + items) * d  # with both moments of Adam
        handed_out = (4 + 8) * (users + items) * sizes[0]
        weights = sum(width * size for width, size in zip((2 * d, *sizes), sizes, strict=False))
        per_pair = 8 + 8 + 4 + 8 + (20 if config.negatives else 0)  # user, item, value, order; look-up of the unseen
        samples = (1 + config.negatives) * min(config.batch_size, max(pairs, 1))
        batch = 4 * samples * (12 * d + 3 * sum(sizes) + 16)
        return tables + handed_out + 4 * weights * (3 + samples // _PART + 1) + per_pair * pairs + batch


class _Training:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        config: MLPConfig,
        random_state: int,
        device: torch.device,
        pool: Threads,
    ) -> None:
        self._config, self._device, self._pool = config, device, pool
        self._loss = LOSSES["logistic" if config.loss == "pointwise" else config.loss]
        self._generator = torch.Generator(device).manual_seed(random_state)
        pair_users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
        self._users = torch.from_numpy(pair_users).to(device)  # (pairs,)
        self._items = torch.from_numpy(interactions.item_indices.astype(np.int64)).to(device)  # (pairs,)
        self._unseen: UnseenItems | None = None
        if config.loss == "pointwise":
            self._unseen = UnseenItems(interactions, device=device)
            usable = self._unseen.usable(self._users)
            self._users, self._items = self._users[usable], self._items[usable]
            self._target = Target(values=np.ones(len(self._users), dtype=np.float32))
        else:
            self._target = Target.of(interactions.weights, loss=config.loss, like_above=config.like_above)
        self._values = torch.from_numpy(self._target.values).to(device)  # (pairs,)

        d = config.embedding_dim
        self._user_embeddings = self._initial(interactions.n_users)
        self._item_embeddings = self._initial(interactions.n_items)
        self._network = Network(
            2 * d,
            sizes=config.sizes,
            dropout_before=config.dropout_before,
            dropout_after=config.dropout_after,
            generator=self._generator,
            device=device,
        )
        self._steps = 0

    def _initial(self, rows: int) -> AdamTable:
        values = torch.randn(rows, self._config.embedding_dim, generator=self._generator, device=self._device)
        return AdamTable(values.mul_(_INITIAL_SCALE))

    def sweep(self, watch: Watch) -> float | None:
        """Visit every pair once; return the mean loss, or None where the watch ended the sweep early."""
        order = torch.randperm(len(self._users), generator=self._generator, device=self._device)
        total = 0.0
        for batch in torch.split(order, self._config.batch_size):
            if watch.should_stop():
                return None
            total += self._step(batch)
            if not math.isfinite(total):
                raise self._diverged("the training loss")
        return self._target.loss_unit * (total / len(order))

    def _step(self, batch: torch.Tensor) -> float:
        """Take one step for some pairs; return the sum of the losses before the step."""
        config, d = self._config, self._config.embedding_dim
        u, i = self._users.index_select(0, batch), self._items.index_select(0, batch)
        y = self._values.index_select(0, batch)
        if self._unseen is not None:
            of_negatives = u.repeat(config.negatives)
            i = torch.cat([i, self._unseen.draw(of_negatives, generator=self._generator)])
            u = torch.cat([u, of_negatives])
            y = torch.cat([y, torch.zeros(len(of_negatives), device=self._device)])
        starts = range(0, len(u), _PART)
        seeds = torch.randint(1 << 62, (len(starts),), generator=self._generator, device=self._device).tolist()

        def of_part(part: tuple[int, int]) -> Gradients:
            start, seed = part
            own = slice(start, start + _PART)
            generator = torch.Generator(self._device).manual_seed(seed)
            with torch.inference_mode():
                x = torch.cat([self._user_embeddings.at(u[own]), self._item_embeddings.at(i[own])], dim=1)
                return self._network.gradients(x, slopes=partial(self._slopes, y=y[own]), generator=generator)

        parts = self._pool.map(of_part, zip(starts, seeds, strict=True))
        self._steps += 1
        sums = parts[0].parameters
        for part in parts[1:]:
            for total, gradient in zip(sums, part.parameters, strict=True):
                total += gradient
        self._network.step(
            sums,
            samples=len(u),
            regularization=config.regularization,
            learning_rate=config.learning_rate,
            number=self._steps,
        )
        inputs = torch.cat([part.inputs for part in parts])  # (samples, 2d)
        self._move(self._user_embeddings, u, inputs[:, :d])
        self._move(self._item_embeddings, i, inputs[:, d:])
        return float(sum(np.sum(part.losses.cpu().numpy(), dtype=np.float64) for part in parts))

    def _slopes(self, x: torch.Tensor, *, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x + self._target.start
        return self._loss.value(x, y), self._loss.mean(x) - y

    def _move(self, embeddings: AdamTable, indices: torch.Tensor, gradients: torch.Tensor) -> None:
        """Move the embeddings of some samples, (samples,), along the gradients of these, (samples, d)."""
        config, touched = self._config, Touched(indices)
        total = torch.zeros(len(touched.rows), gradients.shape[1], device=self._device)
        total.index_add_(0, touched.position, gradients)
        total += config.regularization * touched.times * embeddings.at(touched.rows)
        embeddings.step(
            total.div_(len(indices)), number=self._steps, learning_rate=config.learning_rate, rows=touched.rows
        )

    def _diverged(self, what: str) -> AlgorithmError:
        return AlgorithmError(
            f"{what} is no longer finite: lower learning_rate (now {self._config.learning_rate:g}), or "
            f"raise regularization (now {self._config.regularization:g}) or batch_size (now {self._config.batch_size})"
        )

    def factors(self, epochs: int, train_loss: float) -> Factors:
        """Hand the model out, without dropout, once it is known to be finite."""
        d = self._config.embedding_dim
        (first, hidden_bias), *later = self._network.hidden
        output, intercept = self._network.parameters[-2:]
        layers = {"hidden_bias": _copied(hidden_bias[0])}
        for k, (weights, bias) in enumerate(later, start=1):
            layers |= {f"weights_{k}": _copied(weights), f"bias_{k}": _copied(bias[0])}
        layers |= {
            "output_weights": _copied(self._target.scale * output[0]),
            "output_bias": _copied(self._target.scale * intercept[0]),
        }
        users = _copied(self._user_embeddings.values @ first[:, :d].T)  # (users, h1)
        items = _copied(self._item_embeddings.values @ first[:, d:].T)  # (items, h1)
        for name, values in {**layers, "user_factors": users, "item_factors": items}.items():
            if not np.isfinite(values).all():
                raise self._diverged(f"a number in {name}")
        fitted = Factors(
            user_factors=users,
            item_factors=items,
            user_biases=np.zeros(len(users), dtype=np.float32),
            item_biases=np.zeros(len(items), dtype=np.float32),
            epochs=epochs,
            train_loss=train_loss,
            global_mean=self._target.mean,
            fold_in={"listed_value": self._target.listed_value},
        )
        # Squared errors count in the units of their own variance, as a Gaussian likelihood takes them.
        noise = max(train_loss, _LEAST_NOISE * self._target.scale**2) if self._config.loss == "squared" else 1.0
        return replace(fitted, layers={**layers, **_prior(users, weight=_PRIOR_WEIGHT * noise)})


def _copied(values: torch.Tensor) -> NDArray[np.float32]:
    return np.array(values.cpu().numpy(), dtype=np.float32, order="C")


def _prior(users: NDArray[np.float32], *, weight: float) -> dict[str, NDArray[np.float32]]:
    """Return mean and precision of a Gaussian prior of users' rows, the precision times a weight."""
    variances = users.var(axis=0, dtype=np.float64)  # (h1,)
    floor = _LEAST_VARIANCE * float(variances.mean()) or 1.0
    # Where noise is that large, saving refuses the model.
    with np.errstate(over="ignore"):
        precision = (weight / np.maximum(variances, floor)).astype(np.float32)
    return {"prior_mean": users.mean(axis=0, dtype=np.float64).astype(np.float32), "prior_precision": precision}
