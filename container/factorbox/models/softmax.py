"""Matrix factorization by softmax cross-entropy: `softmax`.

The score of item i for user u is x̂_ui = w_u·h_i + b_i, where all vectors have the length τ^−½ for a temperature τ,
so that w_u·h_i = cos(w_u, h_i) / τ; or where they have any length, with a penalty. With S_u the items of user u it
minimises

    Σ_u |S_u|^−½ Σ_{i∈S_u} −log( exp x̂_ui / (exp x̂_ui + Σ_{j∉S_u} exp x̂_uj) )

Each item of a user is set against all that the user has not got, so that the items of a user do not push each other
down, as they do where the sum runs over all items (measured: 1 to 5% less nDCG). The weight keeps users with long
histories from deciding alone (2% more nDCG than equal weights of pairs).

A step takes some users with all their items, and as negatives either the whole catalogue or, where it is large, a
sample of it: the items of all these users and some that are drawn uniformly, each weighted by 1 / the probability π_j
that a step has it, so that the sum is that over the catalogue on average. That is the correction of x̂_uj by −log π_j
(Bengio, Senécal 2008; Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling"); without it popular items, which come
up most, would be pushed down. Cosines and a temperature: Wu et al. 2022, "On the Effectiveness of Sampled Softmax Loss
for Item Recommendation".
"""

from __future__ import annotations

from dataclasses import replace

import torch

from factorbox.data.feedback import PAIRS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models.adagrad import reproducible
from factorbox.models.base import Device, Factors, ItemSide, Link, Watch
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.row_system import RowSystem
from factorbox.models.sampled_fold_in import FoldInScales, constants_memory, fold_in_constants, row_system
from factorbox.models.softmax_config import SoftmaxConfig
from factorbox.models.softmax_training import Training, step_memory
from factorbox.threads import Threads


class Softmax:
    """The algorithm `softmax` (see `factorbox.models.base.Algorithm`).

    Weights are not used.
    """

    name = "softmax"
    config = SoftmaxConfig
    explains = True
    # nDCG@10 against a training from the beginning, a tenth of each user put back: ML-100K −0.3%, mean of 11 seeds
    # (8 epochs −0.1%), ML-1M +0.2%.
    warm_epochs: int | None = 5
    fold_in_scales = FoldInScales(margin=6.0, unobserved_share=0.25, penalty=0.1)

    def feedback(self, config: SoftmaxConfig) -> Feedback:
        """Return that weights are ignored."""
        return PAIRS

    def link(self, config: SoftmaxConfig) -> Link:
        """Return that scores are what the model ranks by."""
        return "identity"

    def resolved(self, config: SoftmaxConfig, *, interactions: Interactions) -> SoftmaxConfig:
        """Fill in the number of items that are drawn: that of all items where all take part."""
        n_items = interactions.n_items
        drawn = config.drawn(items=n_items)
        return replace(config, num_negative_samples=n_items if drawn is None else drawn)

    def fit(
        self,
        interactions: Interactions,
        *,
        config: SoftmaxConfig,
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
            Where every user has every item, so that there are no negatives.
        AlgorithmError
            Where the loss or a factor stops being finite, or the start does not fit.
        """
        place = torch.device("cuda" if device == "cuda" else "cpu")
        # One thread here: all products are of the pool's threads, block by block.
        with reproducible(1, place), torch.inference_mode(), Threads(threads) as pool:
            training = Training(interactions, config=config, random_state=random_state, device=place, pool=pool)
            if start is not None:
                training.resume(start, algorithm=self.name)
            factors = fitted_by_epochs(
                lambda _, watch: training.sweep(watch), training.factors, epochs=config.epochs, watch=watch, start=start
            )
        return self.finished(factors, interactions=interactions, config=config)

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: SoftmaxConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Add the constants by which users are folded in."""
        constants = fold_in_constants(snapshot, interactions=interactions, scales=self.fold_in_scales)
        return replace(snapshot, fold_in=constants)

    def continuation(self, config: SoftmaxConfig, *, epochs: int) -> SoftmaxConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: SoftmaxConfig, items: ItemSide) -> RowSystem:
        """Return the ridge regression of `factorbox.models.sampled_fold_in`, which does not depend on `config`."""
        return row_system(item_factors=items.item_factors, item_biases=items.item_biases, constants=items.fold_in)

    def memory(self, *, users: int, items: int, pairs: int, config: SoftmaxConfig) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        d = config.embedding_dim
        # Vector and bias with their Adagrad state, and those of a start.
        tables = 2 * 4 * (users + items) * (d + 3)
        lookup = 8 * pairs + (8 + 8 + 4) * users + (8 + 4 + 4) * items
        step = step_memory(users=users, items=items, pairs=pairs, config=config)
        return tables + lookup + max(step, constants_memory(pairs=pairs, embedding_dim=d))
