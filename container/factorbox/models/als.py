"""iALS: implicit alternating least squares with an unobserved weight and frequency-scaled regularization.

Hu, Koren, Volinsky 2008; Rendle, Krichene, Zhang, Koren 2022, "Revisiting the Performance of iALS on Item
Recommendation Benchmarks". It minimises

    Σ_{(u,i) observed} c_ui (1 − w_u·h_i)² + α0 Σ_{u,i} (w_u·h_i)²
        + λ ( Σ_u (|S_u| + α0 |I|)^ν |w_u|² + Σ_i (|S_i| + α0 |U|)^ν |h_i|² ),    c_ui = alpha · weight_ui

where S_u are the distinct items of user u. With one side fixed, each row of the other is a linear system of its own;
a sweep solves the users' and then the items'.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.feedback import IMPLICIT, Feedback
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.als_sweeps import KernelSweeps, Side, Sweeps, gram_matrix
from factorbox.models.als_torch import TorchSweeps
from factorbox.models.base import (
    Device,
    Epoch,
    Factors,
    ItemSide,
    Link,
    Watch,
    embedding_dim_option,
    epochs_option,
)
from factorbox.models.row_system import RowSystem, frequency_penalties
from factorbox.models.warm_start import check_start
from factorbox.options import check_ranges, option
from factorbox.threads import Threads


@dataclass(frozen=True, kw_only=True)
class ALSConfig:
    """Hyperparameters of `als`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(16)
    regularization: float = option(0.38, "L2 penalty λ, scaled by frequency.", minimum=0, aliases=("l2", "reg"))
    unobserved_weight: float = option(0.3, "Weight α0 of every missing entry.", minimum=0)
    alpha: float | None = option(
        None,
        "Confidence per unit of weight; where it is not given, 1 / the mean weight, so that the mean confidence is 1.",
        above=0,
    )
    regularization_exponent: float = option(
        0.5, "How the penalty of a row grows with its frequency: ν, 0 for not at all.", minimum=0, maximum=2
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def row_penalties(counts: NDArray[np.int64], *, other_side: int, config: ALSConfig) -> NDArray[np.float64]:
    """Return λ (|S| + α0 · rows of the other side)^ν for each row.  # (rows,)."""
    return frequency_penalties(
        counts,
        offset=config.unobserved_weight * other_side,
        regularization=config.regularization,
        exponent=config.regularization_exponent,
    )


class ALS:
    """The algorithm `als` (see `factorbox.models.base.Algorithm`)."""

    name = "als"
    config = ALSConfig
    explains = True
    # nDCG@10 against a training from the beginning, a tenth of each user put back, mean of 3 seeds: ML-100K +0.10%
    # (without any −1.0%), ML-1M +0.05% (−0.3%).
    warm_epochs: int | None = 3

    def feedback(self, config: ALSConfig) -> Feedback:
        """Return that weights are confidences."""
        return IMPLICIT

    def link(self, config: ALSConfig) -> Link:
        """Return that scores are what the model ranks by."""
        return "identity"

    def resolved(self, config: ALSConfig, *, interactions: Interactions) -> ALSConfig:
        """Fill in alpha."""
        return replace(config, alpha=_alpha(config, interactions=interactions))

    def fit(
        self,
        interactions: Interactions,
        *,
        config: ALSConfig,
        random_state: int,
        threads: int = 1,
        device: Device = "cpu",
        watch: Watch = Watch(),
        start: Factors | None = None,
    ) -> Factors:
        """Fit by `epochs` sweeps and a last half-sweep over the users to a relative residual of 1e-6.

        The last half-sweep makes every user's factors the solution of that user's own system, so that folding in
        a history gives the vector of the user who has it.
        """
        rng = np.random.default_rng(random_state)
        alpha = _alpha(config, interactions=interactions)
        users, items = _sides(interactions, config=config)
        # The scale of Rendle et al.: scores start near 0 whatever the dimension.
        drawn = rng.standard_normal(items.factors.shape, dtype=np.float32)
        items.factors[:] = drawn * (0.1 / math.sqrt(config.embedding_dim))
        completed, train_loss = 0, math.nan
        if start is not None:
            _resume(users, items, start=start)
            completed, train_loss = start.epochs, start.train_loss
        with _sweeps(config, alpha=alpha, threads=threads, device=device) as sweeps:
            for number in range(completed + 1, completed + config.epochs + 1):
                started = time.perf_counter()
                should_stop = watch.should_stop if completed else _never
                sweeps.update(users, fixed=items, exact=False, should_stop=should_stop)
                objective = sweeps.update(items, fixed=users, exact=False, should_stop=should_stop)
                if should_stop():
                    break
                completed, train_loss = number, objective / interactions.n_pairs
                if not math.isfinite(train_loss):
                    raise AlgorithmError(
                        f"the loss of als became {train_loss} in epoch {number}: raise regularization"
                        f" (now {config.regularization:g}) or unobserved_weight (now {config.unobserved_weight:g}),"
                        f" or lower alpha (now {alpha:g}) if weights are very large"
                    )
                snapshot = partial(_factors, users, items, epochs=completed, train_loss=train_loss)
                watch.on_epoch(Epoch(number, train_loss, time.perf_counter() - started, snapshot))
            sweeps.update(users, fixed=items, exact=True, should_stop=_never)
        return _factors(users, items, epochs=completed, train_loss=train_loss)

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: ALSConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Solve for the users to a relative residual of 1e-6, as the end of `fit` does."""
        users, items = _sides(interactions, config=config)
        users.factors[:], items.factors[:] = snapshot.user_factors, snapshot.item_factors
        alpha = _alpha(config, interactions=interactions)
        with _sweeps(config, alpha=alpha, threads=threads, device=device) as sweeps:
            sweeps.update(users, fixed=items, exact=True, should_stop=_never)
        return _factors(users, items, epochs=snapshot.epochs, train_loss=snapshot.train_loss)

    def continuation(self, config: ALSConfig, *, epochs: int) -> ALSConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: ALSConfig, items: ItemSide) -> RowSystem:
        """Return the system that the last half-sweep of `fit` solves for each user.

        There are no item biases, and nothing beside the configuration is needed.

        Raises
        ------
        AlgorithmError
            Where the configuration is not the resolved one: it has no alpha.
        """
        if config.alpha is None:
            raise AlgorithmError("als folds users in by the resolved configuration, and this one has no alpha")
        n_items, d = items.item_factors.shape
        with Threads(1) as threads:
            gram = gram_matrix(items.item_factors, torch.float64, threads=threads)
        return RowSystem(
            item_factors=items.item_factors,
            has_bias=False,
            gram=config.unobserved_weight * gram.numpy(),
            constant=np.zeros(d),
            targets=np.ones(n_items, dtype=np.float32),
            offsets=np.zeros(n_items, dtype=np.float32),
            alpha=config.alpha,
            regularization=config.regularization,
            frequency_offset=config.unobserved_weight * n_items,
            regularization_exponent=config.regularization_exponent,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: ALSConfig) -> int:
        """Bytes of the factors, those of a start and one rotated copy, and of the interactions in rows by item."""
        factors = 2 * 4 * config.embedding_dim * (users + items)
        rotated = 4 * config.embedding_dim * max(users, items)
        return factors + rotated + 8 * pairs + 24 * (users + items) + 64 * 8 * config.embedding_dim**2


def _sides(interactions: Interactions, *, config: ALSConfig) -> tuple[Side, Side]:
    """Return the users and the items, with factors of zeros."""
    return (
        _side(interactions.by_user(), other_side=interactions.n_items, config=config),
        _side(interactions.by_item(), other_side=interactions.n_users, config=config),
    )


def _resume(users: Side, items: Side, *, start: Factors) -> None:
    """Go on from a model; items that were zeros, as without a pair, and have pairs now keep what was drawn."""
    check_start(start, algorithm="als", user_factors=users.factors.shape, item_factors=items.factors.shape, state={})
    users.factors[:] = start.user_factors
    known = start.item_factors.any(axis=1) | (items.rows.counts == 0)
    items.factors[known] = start.item_factors[known]


def _side(rows: Rows, *, other_side: int, config: ALSConfig) -> Side:
    penalties = row_penalties(rows.counts, other_side=other_side, config=config)
    # From torch, whose memory begins at multiples of 64 bytes: MKL promises the same bits in every run for those only.
    factors = torch.zeros(len(penalties), config.embedding_dim).numpy()
    return Side(rows=rows, penalties=penalties, factors=factors)


def _factors(users: Side, items: Side, *, epochs: int, train_loss: float) -> Factors:
    return Factors(
        user_factors=users.factors,
        item_factors=items.factors,
        user_biases=np.zeros(len(users.factors), dtype=np.float32),
        item_biases=np.zeros(len(items.factors), dtype=np.float32),
        epochs=epochs,
        train_loss=train_loss,
    )


def _alpha(config: ALSConfig, *, interactions: Interactions) -> float:
    """Return alpha, by default 1 / the mean weight: on ratings a tenth more nDCG than 1 (measured)."""
    if config.alpha is not None:
        return config.alpha
    return 1.0 / float(interactions.weights.mean(dtype=np.float64))


def _sweeps(config: ALSConfig, *, alpha: float, threads: int, device: Device) -> Sweeps:
    weights = dict(unobserved_weight=config.unobserved_weight, alpha=alpha)
    if device == "cpu":
        return KernelSweeps(threads=threads, **weights)
    return TorchSweeps(threads=threads, device="cpu" if device == "none" else "cuda", **weights)


def _never() -> bool:
    return False
