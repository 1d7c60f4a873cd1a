"""iALS: implicit alternating least squares with an unobserved weight and frequency-scaled regularization.

Hu, Koren, Volinsky 2008; Rendle, Krichene, Zhang, Koren 2022, "Revisiting the Performance of iALS on Item
Recommendation Benchmarks". It minimises

    Σ_{(u,i) observed} c_ui (1 − w_u·h_i)² + α0 Σ_{u,i} (w_u·h_i)²
        + λ ( Σ_u (|S_u| + α0 |I|)^ν |w_u|² + Σ_i (|S_i| + α0 |U|)^ν |h_i|² ),    c_ui = alpha · g(weight_ui)

where g is a transform of `factorbox.models.confidence` and S_u are the distinct items of user u. With one side fixed,
each row of the other is a linear system of its own; a sweep solves the users' and then the items'.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import IMPLICIT, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models import als_config
from factorbox.models.als_config import ALSConfig, objective_of
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.catalogue import sums_over_items
from factorbox.models.confidence import Confidence
from factorbox.models.row_system import RowSystem, frequency_penalties
from factorbox.models.vector_instructions import LANES

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
    # After 3 epochs nDCG@10 is that of 5 on MovieLens data, and up to 1% less on made-up data of few users with many
    # items, a tenth of each user put back.
    warm_epochs: int | None = 5

    def feedback(self, config: ALSConfig) -> Feedback:
        """Return that weights are confidences."""
        return IMPLICIT

    def link(self, config: ALSConfig) -> Link:
        """Return that scores are what the model ranks by."""
        return "identity"

    def resolved(self, config: ALSConfig, *, interactions: Interactions) -> ALSConfig:
        """Fill in alpha, the unobserved weight and the regularization by the rules of `als_config`."""
        return als_config.resolved(config, weighed=weighed_interactions(interactions, config=config)[1])

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
        from factorbox.models import als_training  # needs torch

        return als_training.fit(
            interactions,
            config=config,
            random_state=random_state,
            threads=threads,
            device=device,
            watch=watch,
            start=start,
        )

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
        from factorbox.models import als_training  # needs torch

        return als_training.finished(snapshot, interactions=interactions, config=config, threads=threads, device=device)

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
        gram, _ = sums_over_items(items.item_factors, targets=np.zeros(n_items), has_bias=False)
        return RowSystem(
            item_factors=items.item_factors,
            has_bias=False,
            gram=objective.unobserved_weight * gram,
            constant=np.zeros(d),
            targets=np.ones(n_items, dtype=np.float32),
            offsets=np.zeros(n_items, dtype=np.float32),
            alpha=objective.alpha,
            confidence=Confidence.from_constants(config.confidence, idf=items.idf, constants=items.fold_in),
            regularization=objective.regularization,
            frequency_offset=objective.unobserved_weight * n_items,
            regularization_exponent=objective.exponent,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: ALSConfig, device: Device = "cpu") -> int:
        """Bytes of the factors, those of a start and one rotated copy, and of the interactions in rows by item."""
        factors = 2 * 4 * config.embedding_dim * (users + items)
        rotated = 4 * config.embedding_dim * max(users, items)
        if config.embedding_dim % LANES:
            # The kernels work on copies with columns up to whole vectors.
            rotated += 4 * (config.embedding_dim + LANES) * (users + items)
        weighed = 0 if config.confidence == "linear" else 24 * pairs
        return factors + rotated + weighed + 8 * pairs + 24 * (users + items) + 64 * 8 * config.embedding_dim**2


def weighed_interactions(interactions: Interactions, *, config: ALSConfig) -> tuple[Confidence, Interactions]:
    """Return the transform of weights, and the interactions with transformed ones."""
    confidence = Confidence.of(config.confidence, interactions=interactions)
    return confidence, confidence.weighed(interactions)
