"""Matrix factorization with a sampled loss: `bpr`, `hinge`, `adaptive_hinge` and `pointwise`.

The score of item i for user u is x̂_ui = w_u·h_i + b_u + b_i. An epoch visits each distinct pair (u, i) of the
data once, in random order, and sets against it an item j that u has not seen, drawn uniformly. It minimises

    Σ_(u,i) [ loss(x̂_ui, x̂_uj) + λ/2 (|w_u|² + |h_i|² + |h_j|² + b_u² + b_i² + b_j²) ]

by row-wise Adagrad (`factorbox.models.adagrad`): on a processor pair by pair in numba kernels
(`factorbox.models.sampled_blocks`), on a GPU and without those kernels in batches by torch
(`factorbox.models.sampled_torch`).

In the pairwise losses b_u cancels out of x̂_ui − x̂_uj: it has no gradient and stays 0. Only `pointwise`
moves it.

Nothing depends on the number of threads. A GPU is unmeasured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from factorbox.data.feedback import PAIRS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models import sampled_kernels as kernels
from factorbox.models.adagrad import reproducible
from factorbox.models.base import (
    Algorithm,
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
)
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.row_system import RowSystem
from factorbox.models.sampled_blocks import BlockTraining, blocks_memory
from factorbox.models.sampled_config import (
    AdaptiveHingeConfig,
    BPRConfig,
    HingeConfig,
    PointwiseConfig,
    SampledConfig,
)
from factorbox.models.sampled_fold_in import FoldInScales, constants_memory, fold_in_constants, row_system
from factorbox.models.sampled_losses import SampledLoss, bpr, hinge, pointwise
from factorbox.models.sampled_torch import TorchTraining
from factorbox.threads import Threads


class SampledFactorization:
    """One sampled loss as an algorithm (`factorbox.models.base.Algorithm`).

    Weights are not used: each distinct pair is drawn once an epoch.
    """

    explains = True

    def __init__(
        self,
        name: str,
        loss: tuple[SampledLoss, int],
        config: type[SampledConfig],
        *,
        fold_in: FoldInScales,
        warm_epochs: int | None,
    ) -> None:
        self.name = name
        self.config: type[Any] = config
        self.warm_epochs = warm_epochs
        self._loss, self._kernel_loss = loss
        self.fold_in_scales = fold_in

    def feedback(self, config: SampledConfig) -> Feedback:
        """Return that weights are ignored."""
        return PAIRS

    def link(self, config: SampledConfig) -> Link:
        """Return that scores are what the model ranks by."""
        return "identity"

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
        if device == "cpu":
            with Threads(threads) as pool:
                blocks = BlockTraining(
                    interactions,
                    loss=self._kernel_loss,
                    config=config,
                    random_state=random_state,
                    threads=pool,
                    start=start,
                )
                return self._trained(blocks, interactions, config=config, watch=watch, start=start)
        place = torch.device("cuda" if device == "cuda" else "cpu")
        with reproducible(threads, place), torch.inference_mode():
            batches = TorchTraining(
                interactions, loss=self._loss, config=config, random_state=random_state, device=place, start=start
            )
            return self._trained(batches, interactions, config=config, watch=watch, start=start)

    def _trained(
        self,
        training: BlockTraining | TorchTraining,
        interactions: Interactions,
        *,
        config: SampledConfig,
        watch: Watch,
        start: Factors | None,
    ) -> Factors:
        if start is not None:
            training.resume(start, algorithm=self.name)
        factors = fitted_by_epochs(training.sweep, training.factors, epochs=config.epochs, watch=watch, start=start)
        return self.finished(factors, interactions=interactions, config=config)

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: SampledConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Add the constants by which users are folded in."""
        constants = fold_in_constants(snapshot, interactions=interactions, scales=self.fold_in_scales)
        return replace(snapshot, fold_in=constants)

    def continuation(self, config: SampledConfig, *, epochs: int) -> SampledConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: SampledConfig, items: ItemSide) -> RowSystem:
        """Return the ridge regression of `factorbox.models.sampled_fold_in`, which does not depend on `config`."""
        return row_system(item_factors=items.item_factors, item_biases=items.item_biases, constants=items.fold_in)

    def memory(self, *, users: int, items: int, pairs: int, config: SampledConfig) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves, with the kernels.

        torch alone takes 40 bytes a pair, and a batch, more.
        """
        d = config.embedding_dim
        blocks = blocks_memory(users=users, items=items, pairs=pairs, embedding_dim=d)
        return blocks + constants_memory(pairs=pairs, embedding_dim=d)


_BPR, _HINGE, _POINTWISE = (bpr, kernels.BPR), (hinge, kernels.HINGE), (pointwise, kernels.POINTWISE)

# Warm epochs: nDCG@10 against a training from the beginning, after 5 with a tenth of each user put back; ML-100K, mean
# of 3 seeds, and ML-1M, one seed: bpr +0.1%, −0.2%; hinge +0.4%, +0.3%; pointwise +0.1%, −0.3%. adaptive_hinge −1.0%,
# after 8 as well, since it has learned, more than the others, that the very items which are put back are not wanted.
BPR: Algorithm = SampledFactorization("bpr", _BPR, BPRConfig, fold_in=FoldInScales(), warm_epochs=5)
HINGE: Algorithm = SampledFactorization("hinge", _HINGE, HingeConfig, fold_in=FoldInScales(), warm_epochs=5)
ADAPTIVE_HINGE: Algorithm = SampledFactorization(
    "adaptive_hinge", _HINGE, AdaptiveHingeConfig, fold_in=FoldInScales(penalty=0.1), warm_epochs=None
)
POINTWISE: Algorithm = SampledFactorization(
    "pointwise", _POINTWISE, PointwiseConfig, fold_in=FoldInScales(unobserved_share=0.5), warm_epochs=5
)
