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

from dataclasses import replace
from typing import cast

import numpy as np

from factorbox.data.feedback import COUNTS, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.rating_losses import LINKS, check_ratings
from factorbox.models.row_system import RatingLoss, RowSystem


class ExplicitFactorization:
    """The algorithm `explicit` (see `factorbox.models.base.Algorithm`)."""

    name = "explicit"
    config = ExplicitConfig
    explains = True
    # RMSE against a training from the beginning, a tenth of each user put back: ML-100K +0.2% (mean of 3 seeds; without
    # any +0.4%), ML-1M +0.0% (2 seeds; +0.2%).
    warm_epochs: int | None = 3

    def feedback(self, config: ExplicitConfig) -> Feedback:
        """Return that weights are ratings, which the Poisson loss wants to be at least 0."""
        return COUNTS if config.loss == "poisson" else RATINGS

    def link(self, config: ExplicitConfig) -> Link:
        """Return what makes a rating, a probability or an expected count of x̂."""
        return LINKS[config.loss]

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
        start: Factors | None = None,
    ) -> Factors:
        """Fit a model; see `factorbox.models.base.Algorithm.fit`.

        Raises
        ------
        UserError
            Where the ratings are no labels, and the loss is one of labels.
        AlgorithmError
            Where the loss or a factor stops being finite, or the start does not fit.
        """
        config = self.resolved(config, interactions=interactions)
        from factorbox.models import explicit_training  # needs torch

        factors = explicit_training.fit(
            interactions,
            config=config,
            random_state=random_state,
            threads=threads,
            device=device,
            watch=watch,
            start=start,
        )
        return self.finished(factors, interactions=interactions, config=config, threads=threads)

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: ExplicitConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Solve for the users exactly."""
        from factorbox.models.explicit_rows import solve_rows  # needs torch

        system = self.row_system(config, snapshot.item_side)
        users, biases = solve_rows(system, interactions.by_user(), threads=threads)
        return replace(snapshot, user_factors=users, user_biases=biases)

    def continuation(self, config: ExplicitConfig, *, epochs: int) -> ExplicitConfig:
        """Return the same but for the number of epochs, at the last learning rate of the schedule."""
        last_rate = config.schedule.stages[-1][0]
        return replace(config, epochs=epochs, learning_rate=str(last_rate))

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
            frequency_offset=config.frequency_offset,
            regularization_exponent=1.0,
            ratings=True,
            loss=cast(RatingLoss, config.loss),
            like_above=config.like_above,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: ExplicitConfig, device: Device = "cpu") -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        from factorbox.models.explicit_rows import rows_memory  # needs torch

        d = config.embedding_dim
        tables = 4 * (users + items) * (d + 4)  # vector and bias, each with its Adagrad state, and the penalty
        tables += 4 * (users + items) * (d + 3)  # those of a start
        handed_out = 4 * (users + items) * (d + 1)
        per_pair = 8 + 8 + 4 + 8  # user, item, value, order
        batch = (4 * d * 10 + 8 * 14) * min(config.batch_size, max(pairs, 1))
        return tables + handed_out + per_pair * pairs + max(batch, rows_memory(embedding_dim=d))


EXPLICIT = ExplicitFactorization()
