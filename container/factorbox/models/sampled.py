"""Matrix factorization with a sampled loss: `bpr`, `hinge`, `adaptive_hinge` and `pointwise`.

The score of item i for user u is x̂_ui = w_u·h_i + b_u + b_i. An epoch visits each distinct pair (u, i) of the
data once and sets against it an item j that u has not seen. It minimises

    Σ_(u,i) [ loss(x̂_ui, x̂_uj) + λ/2 (|w_u|² + |h_i|² + |h_j|² + b_u² + b_i² + b_j²) ]

by row-wise Adagrad (`factorbox.models.adagrad`): on a processor pair by pair in numba kernels
(`factorbox.models.sampled_blocks`), on a GPU and without those kernels in batches by torch
(`factorbox.models.sampled_torch`).

torch visits the pairs in random order and draws j uniformly. The kernels go through blocks of users and items, and
draw j among the items of the block, which are others in each epoch.

In the pairwise losses b_u cancels out of x̂_ui − x̂_uj: it has no gradient and stays 0. Only `pointwise`
moves it.

Nothing depends on the number of threads. A GPU is unmeasured.
"""

from __future__ import annotations

from typing import Any

from factorbox.data.interactions import Interactions
from factorbox.models.base import Algorithm, Device, Factors, Watch
from factorbox.models.pair_algorithm import PairAlgorithm
from factorbox.models.sampled_config import (
    AdaptiveHingeConfig,
    BPRConfig,
    HingeConfig,
    PointwiseConfig,
    SampledConfig,
)
from factorbox.models.sampled_fold_in import FoldInScales, constants_memory


class SampledFactorization(PairAlgorithm):
    """One sampled loss as an algorithm (`factorbox.models.base.Algorithm`).

    Weights are not used: each distinct pair is drawn once an epoch.
    """

    def __init__(
        self,
        name: str,
        config: type[SampledConfig],
        *,
        fold_in: FoldInScales,
        warm_epochs: int | None,
    ) -> None:
        self.name = name
        self.config: type[Any] = config
        self.warm_epochs = warm_epochs
        self.fold_in_scales = fold_in

    def resolved(self, config: SampledConfig, *, interactions: Interactions) -> SampledConfig:
        """Return the configuration as it is: no default depends on the data."""
        return config

    def fit(
        self,
        interactions: Interactions,
        *,
        config: SampledConfig,
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
        from factorbox.models import sampled_training  # needs torch

        factors = sampled_training.fit(
            interactions,
            algorithm=self.name,
            config=config,
            random_state=random_state,
            threads=threads,
            device=device,
            watch=watch,
            start=start,
        )
        return self.finished(factors, interactions=interactions, config=config)

    def memory(self, *, users: int, items: int, pairs: int, config: SampledConfig, device: Device = "cpu") -> int:
        """Estimate the bytes that `fit` on a device needs beside the interactions themselves."""
        if device == "cpu":
            from factorbox.models.sampled_blocks import blocks_memory  # needs torch

            training = blocks_memory(users=users, items=items, pairs=pairs, embedding_dim=config.embedding_dim)
        else:
            from factorbox.models.sampled_torch import batches_memory

            training = batches_memory(users=users, items=items, pairs=pairs, config=config)
        return training + constants_memory(pairs=pairs, embedding_dim=config.embedding_dim)


# Warm epochs, by `local_test/benchmarks/choose_warm_epochs.py` on ML-100K: 20 of hinge are 0.6% behind a training from
# the beginning, of bpr 1.8%, of pointwise 1.2%; 5 are up to 2.4% behind, and longer steps, by smaller sums of Adagrad,
# are worse. adaptive_hinge is 1.3% behind after 8, since it has learned, more than the others, that the very items
# which are put back are not wanted. Those that are more than 1% behind train anew.
BPR: Algorithm = SampledFactorization("bpr", BPRConfig, fold_in=FoldInScales(), warm_epochs=None)
HINGE: Algorithm = SampledFactorization("hinge", HingeConfig, fold_in=FoldInScales(penalty=0.1), warm_epochs=20)
ADAPTIVE_HINGE: Algorithm = SampledFactorization(
    "adaptive_hinge", AdaptiveHingeConfig, fold_in=FoldInScales(penalty=0.1), warm_epochs=None
)
POINTWISE: Algorithm = SampledFactorization(
    "pointwise", PointwiseConfig, fold_in=FoldInScales(unobserved_share=0.5), warm_epochs=None
)
