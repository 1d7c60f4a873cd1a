"""One training of `mlp`: its parameters, and the steps that they take."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.adagrad import Touched, reproducible
from factorbox.models.adam import AdamTable
from factorbox.models.base import Device, Factors, Watch
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.mlp_config import MLPConfig
from factorbox.models.mlp_network import Gradients, Network
from factorbox.models.rating_losses import Target
from factorbox.models.rating_slopes import LOSSES
from factorbox.models.sampled_negatives import UnseenItems
from factorbox.models.warm_start import TRAINED_ITEMS, check_start, generator_seed, marks
from factorbox.threads import Threads

PART = 1024
"""Samples that one thread works off at a time."""

_INITIAL_SCALE = 0.1
"""Standard deviation of the embeddings' first numbers."""

_PRIOR_WEIGHT = 0.03
"""Weight of the prior of users' rows in fold-in, chosen by measurement."""
_LEAST_VARIANCE = 0.01
"""Share of the mean variance that every number of a user's row is taken to have at least."""
_LEAST_NOISE = 0.01
"""Share of the variance of ratings that the network is taken to leave unexplained at least."""

_STEPS = "steps"
"""Name in `Factors.state` of the number of steps of Adam."""


def fit(
    interactions: Interactions,
    *,
    config: MLPConfig,
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model; see `factorbox.models.mlp.MLP.fit`."""
    place = torch.device("cuda" if device == "cuda" else "cpu")
    with reproducible(1, place), torch.inference_mode(), Threads(threads) as pool:
        training = Training(
            interactions, config=config, random_state=random_state, device=place, pool=pool, start=start
        )
        return fitted_by_epochs(
            lambda _, watch: training.sweep(watch), training.factors, epochs=config.epochs, watch=watch, start=start
        )


class Training:
    """Parameters, data and random numbers of one fit."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        config: MLPConfig,
        random_state: int,
        device: torch.device,
        pool: Threads,
        start: Factors | None,
    ) -> None:
        self._config, self._device, self._pool = config, device, pool
        self._loss = LOSSES["logistic" if config.loss == "pointwise" else config.loss]
        self._generator = torch.Generator(device).manual_seed(generator_seed(random_state, start=start))
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
        self._has_pairs = marks(np.bincount(interactions.item_indices, minlength=interactions.n_items))
        if start is not None:
            self._resume(start)

    @property
    def _tables(self) -> dict[str, AdamTable]:
        """All parameters by their names in `Factors.state`."""
        network = {f"network_{k}": table for k, table in enumerate(self._network.tables)}
        return {"user_embeddings": self._user_embeddings, "item_embeddings": self._item_embeddings, **network}

    def _state(self) -> dict[str, NDArray[np.float32]]:
        arrays = {_STEPS: np.array([self._steps], dtype=np.float32), TRAINED_ITEMS: self._has_pairs}
        for name, table in self._tables.items():
            arrays |= table.state(name)
        return arrays

    def _resume(self, start: Factors) -> None:
        """Go on from a model, except for items that have pairs now and had none."""
        units = self._config.sizes[0]
        check_start(
            start,
            algorithm="mlp",
            user_factors=(len(self._user_embeddings.values), units),
            item_factors=(len(self._item_embeddings.values), units),
            state={name: values.shape for name, values in self._state().items()},
        )
        # Beyond 2²⁴ the number is rounded, and long nothing depends on it any more.
        self._steps = int(start.state[_STEPS][0])
        known_items = (start.state[TRAINED_ITEMS] > 0) | (self._has_pairs == 0)
        for name, table in self._tables.items():
            table.resume(start.state, name, rows=known_items if name == "item_embeddings" else None)

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
        starts = range(0, len(u), PART)
        seeds = torch.randint(1 << 62, (len(starts),), generator=self._generator, device=self._device).tolist()

        def of_part(part: tuple[int, int]) -> Gradients:
            start, seed = part
            own = slice(start, start + PART)
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
            state=self._state(),
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
