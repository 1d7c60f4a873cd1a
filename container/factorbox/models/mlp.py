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

from dataclasses import replace

from factorbox.data.feedback import COUNTS, PAIRS, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.mlp_config import MLPConfig
from factorbox.models.network import NetworkProblem
from factorbox.models.rating_losses import LINKS, check_ratings


class MLP:
    """The algorithm `mlp` (see `factorbox.models.base.Algorithm`)."""

    name = "mlp"
    config = MLPConfig
    explains = False
    # nDCG@10 against a training from the beginning, ML-100K, a tenth of each user put back: +2% after 3 epochs, where
    # one epoch and the next differ by as much (one seed; without any −0.4%).
    warm_epochs: int | None = 3

    def feedback(self, config: MLPConfig) -> Feedback:
        """Return what the loss takes weights for: nothing, ratings, or counts."""
        return {"pointwise": PAIRS, "poisson": COUNTS}.get(config.loss, RATINGS)

    def link(self, config: MLPConfig) -> Link:
        """Return what makes a rating, a probability or an expected count of x̂."""
        return "identity" if config.loss == "pointwise" else LINKS[config.loss]

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
        start: Factors | None = None,
    ) -> Factors:
        """Fit a model; see `factorbox.models.base.Algorithm.fit`.

        Raises
        ------
        UserError
            Where the ratings are no labels, and the loss is one of labels; with loss=pointwise, where every user has
            every item, so that there are no negatives.
        AlgorithmError
            Where the loss or a weight stops being finite, or the start does not fit.
        """
        config = self.resolved(config, interactions=interactions)
        from factorbox.models import mlp_training  # needs torch

        return mlp_training.fit(
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
        config: MLPConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Return the snapshot: nothing is left to be done."""
        return snapshot

    def continuation(self, config: MLPConfig, *, epochs: int) -> MLPConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

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

    def memory(self, *, users: int, items: int, pairs: int, config: MLPConfig, device: Device = "cpu") -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        from factorbox.models.mlp_training import PART  # needs torch

        d, sizes = config.embedding_dim, config.sizes
        tables = 2 * 3 * 4 * (users + items) * d  # with both moments of Adam; and those of a start
        handed_out = (4 + 4 + 8) * (users + items) * sizes[0]
        weights = sum(width * size for width, size in zip((2 * d, *sizes), sizes, strict=False))
        per_pair = 8 + 8 + 4 + 8 + (20 if config.negatives else 0)  # user, item, value, order; look-up of the unseen
        samples = (1 + config.negatives) * min(config.batch_size, max(pairs, 1))
        batch = 4 * samples * (12 * d + 3 * sum(sizes) + 16)
        return tables + handed_out + 4 * weights * (6 + samples // PART + 1) + per_pair * pairs + batch
