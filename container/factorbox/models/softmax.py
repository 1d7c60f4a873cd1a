"""Matrix factorization by softmax cross-entropy: `softmax`.

The score of item i for user u is x̂_ui = w_u·h_i + b_i, where all vectors have the length τ^−½ for a temperature τ,
so that w_u·h_i = cos(w_u, h_i) / τ; or where they have any length, with a penalty. With S_u the items of user u it
minimises

    Σ_u |S_u|^−½ Σ_{i∈S_u} −log( exp x̂_ui / (exp x̂_ui + Σ_{j∉S_u} exp x̂_uj) )

Each item of a user is set against all that the user has not got, so that the items of a user do not push each other
down, as they do where the sum runs over all items. The weight keeps users with long histories from
deciding alone.

A step takes some users with all their items, and as negatives either the whole catalogue or, where it is large, a
sample of it: the items of all these users and some that are drawn uniformly, each weighted by 1 / the probability π_j
that a step has it, so that the sum is that over the catalogue on average. That is the correction of x̂_uj by −log π_j
(Bengio, Senécal 2008; Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling"); without it popular items, which come
up most, would be pushed down. Cosines and a temperature: Wu et al. 2022, "On the Effectiveness of Sampled Softmax Loss
for Item Recommendation".
"""

from __future__ import annotations

import math

from factorbox.data.interactions import Interactions
from factorbox.models import softmax_config
from factorbox.models.base import Device, Factors, Watch
from factorbox.models.pair_algorithm import PairAlgorithm
from factorbox.models.sampled_fold_in import FoldInScales, constants_memory
from factorbox.models.softmax_config import SoftmaxConfig


class Softmax(PairAlgorithm):
    """The algorithm `softmax` (see `factorbox.models.base.Algorithm`).

    Weights are not used.
    """

    name = "softmax"
    config = SoftmaxConfig
    # On ML-100K no worse than a training from the beginning (`local_test/benchmarks/choose_warm_epochs.py`).
    warm_epochs: int | None = 5
    fold_in_scales = FoldInScales(margin=6.0, unobserved_share=0.25, penalty=0.1)

    def resolved(self, config: SoftmaxConfig, *, interactions: Interactions) -> SoftmaxConfig:
        """Fill in the learning rate and the number of items that are drawn; see `factorbox.models.softmax_config`."""
        return softmax_config.resolved(config, interactions=interactions)

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
        from factorbox.models import softmax_training  # needs torch

        factors = softmax_training.fit(
            interactions,
            config=config,
            random_state=random_state,
            threads=threads,
            device=device,
            watch=watch,
            start=start,
        )
        return self.finished(factors, interactions=interactions, config=config)

    def memory(self, *, users: int, items: int, pairs: int, config: SoftmaxConfig, device: Device = "cpu") -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        d = config.embedding_dim
        # Vector and bias with their Adagrad state, and those of a start.
        tables = 2 * 4 * (users + items) * (d + 3)
        lookup = 8 * pairs + (8 + 8 + 4) * users + (8 + 4 + 4) * items
        step = _step_memory(users=users, items=items, pairs=pairs, config=config)
        return tables + lookup + max(step, constants_memory(pairs=pairs, embedding_dim=d))


def _step_memory(*, users: int, items: int, pairs: int, config: SoftmaxConfig) -> int:
    """Estimate the bytes of one step: G and what its parts compute it from, vectors, gradients and indices."""
    batch = min(config.batch_size, users)
    of_batch = math.ceil(pairs / max(users, 1)) * batch
    drawn = config.drawn(items=items)
    candidates = items if drawn is None else min(items, of_batch + drawn)
    matrices = 3 * 4 * batch * candidates
    return matrices + 4 * 4 * config.embedding_dim * (batch + candidates) + 64 * of_batch
