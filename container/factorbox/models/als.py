"""iALS: implicit alternating least squares with an unobserved weight and frequency-scaled regularization.

Hu, Koren, Volinsky 2008; Rendle, Krichene, Zhang, Koren 2022, "Revisiting the Performance of iALS on Item
Recommendation Benchmarks". It minimises

    Σ_{(u,i) observed} c_ui (1 − w_u·h_i)² + α0 Σ_{u,i} (w_u·h_i)²
        + λ ( Σ_u (|S_u| + α0 |I|)^ν |w_u|² + Σ_i (|S_i| + α0 |U|)^ν |h_i|² ),    c_ui = alpha · g(weight_ui)

where g is a transform of `factorbox.models.confidence` and S_u are the distinct items of user u. With one side fixed,
each row of the other is a linear system of its own; a sweep solves the users' and then the items'.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.feedback import IMPLICIT, Feedback
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models import als_config
from factorbox.models.als_config import ALSConfig, objective_of
from factorbox.models.als_sweeps import KernelSweeps, Side, Sweeps, gram_matrix
from factorbox.models.als_torch import TorchSweeps
from factorbox.models.base import (
    Device,
    Epoch,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.confidence import Confidence
from factorbox.models.row_system import RowSystem, frequency_penalties
from factorbox.models.vector_instructions import LANES
from factorbox.models.warm_start import check_start
from factorbox.threads import Threads

__all__ = ["ALS", "ALSConfig", "row_penalties"]


def row_penalties(counts: NDArray[np.int64], *, other_side: int, config: ALSConfig) -> NDArray[np.float64]:
    """Return λ (|S| + α0 · rows of the other side)^ν for each row.  # (rows,)."""
    objective = objective_of(config)
    return frequency_penalties(
        counts,
        offset=objective.unobserved_weight * other_side,
        regularization=objective.regularization,
        exponent=objective.exponent,
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
        """Fill in alpha, the unobserved weight and the regularization by the rules of `als_config`."""
        return als_config.resolved(config, weighed=_weighed(interactions, config=config)[1])

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
        confidence, weighed = _weighed(interactions, config=config)
        config = als_config.resolved(config, weighed=weighed)
        users, items = _sides(weighed, config=config)
        # The scale of Rendle et al.: scores start near 0 whatever the dimension.
        drawn = rng.standard_normal(items.factors.shape, dtype=np.float32)
        items.factors[:] = drawn * (0.1 / math.sqrt(config.embedding_dim))
        completed, train_loss = 0, math.nan
        if start is not None:
            _resume(users, items, start=start)
            completed, train_loss = start.epochs, start.train_loss
        with _sweeps(config, threads=threads, device=device) as sweeps:
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
                        f" or lower alpha (now {config.alpha:g}) if weights are very large"
                    )
                snapshot = partial(_factors, users, items, confidence, epochs=completed, train_loss=train_loss)
                watch.on_epoch(Epoch(number, train_loss, time.perf_counter() - started, snapshot))
            sweeps.update(users, fixed=items, exact=True, should_stop=_never)
        return _factors(users, items, confidence, epochs=completed, train_loss=train_loss)

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
        confidence, weighed = _weighed(interactions, config=config)
        users, items = _sides(weighed, config=config)
        users.factors[:], items.factors[:] = snapshot.user_factors, snapshot.item_factors
        with _sweeps(config, threads=threads, device=device) as sweeps:
            sweeps.update(users, fixed=items, exact=True, should_stop=_never)
        return _factors(users, items, confidence, epochs=snapshot.epochs, train_loss=snapshot.train_loss)

    def continuation(self, config: ALSConfig, *, epochs: int) -> ALSConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: ALSConfig, items: ItemSide) -> RowSystem:
        """Return the system that the last half-sweep of `fit` solves for each user.

        There are no item biases, and nothing beside the configuration is needed but the constants of `bm25`.

        Raises
        ------
        AlgorithmError
            Where the configuration is not the resolved one. Where those constants are missing.
        """
        objective = objective_of(config)
        n_items, d = items.item_factors.shape
        with Threads(1) as threads:
            gram = gram_matrix(items.item_factors, torch.float64, threads=threads)
        return RowSystem(
            item_factors=items.item_factors,
            has_bias=False,
            gram=objective.unobserved_weight * gram.numpy(),
            constant=np.zeros(d),
            targets=np.ones(n_items, dtype=np.float32),
            offsets=np.zeros(n_items, dtype=np.float32),
            alpha=objective.alpha,
            confidence=Confidence.from_constants(config.confidence, idf=items.idf, constants=items.fold_in),
            regularization=objective.regularization,
            frequency_offset=objective.unobserved_weight * n_items,
            regularization_exponent=objective.exponent,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: ALSConfig) -> int:
        """Bytes of the factors, those of a start and one rotated copy, and of the interactions in rows by item."""
        factors = 2 * 4 * config.embedding_dim * (users + items)
        rotated = 4 * config.embedding_dim * max(users, items)
        if config.embedding_dim % LANES:
            # The kernels work on copies with columns up to whole vectors.
            rotated += 4 * (config.embedding_dim + LANES) * (users + items)
        weighed = 0 if config.confidence == "linear" else 24 * pairs
        return factors + rotated + weighed + 8 * pairs + 24 * (users + items) + 64 * 8 * config.embedding_dim**2


def _weighed(interactions: Interactions, *, config: ALSConfig) -> tuple[Confidence, Interactions]:
    """Return the transform of weights, and the interactions with transformed ones."""
    confidence = Confidence.of(config.confidence, interactions=interactions)
    return confidence, confidence.weighed(interactions)


def _sides(weighed: Interactions, *, config: ALSConfig) -> tuple[Side, Side]:
    """Return the users and the items, with factors of zeros."""
    return (
        _side(weighed.by_user(), other_side=weighed.n_items, config=config),
        _side(weighed.by_item(), other_side=weighed.n_users, config=config),
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


def _factors(users: Side, items: Side, confidence: Confidence, *, epochs: int, train_loss: float) -> Factors:
    return Factors(
        user_factors=users.factors,
        item_factors=items.factors,
        user_biases=np.zeros(len(users.factors), dtype=np.float32),
        item_biases=np.zeros(len(items.factors), dtype=np.float32),
        epochs=epochs,
        train_loss=train_loss,
        fold_in=confidence.constants,
        idf=confidence.idf,
    )


def _sweeps(config: ALSConfig, *, threads: int, device: Device) -> Sweeps:
    objective = objective_of(config)
    weights = dict(unobserved_weight=objective.unobserved_weight, alpha=objective.alpha)
    if device == "cpu":
        return KernelSweeps(threads=threads, **weights)
    return TorchSweeps(threads=threads, device="cpu" if device == "none" else "cuda", **weights)


def _never() -> bool:
    return False
