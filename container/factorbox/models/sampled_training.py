"""One training by a sampled loss: in blocks by kernels, or in batches by torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from factorbox.data.interactions import Interactions
from factorbox.models import sampled_kernels as kernels
from factorbox.models.adagrad import reproducible
from factorbox.models.base import Device, Factors, Watch
from factorbox.models.epochs import fitted_by_epochs
from factorbox.models.sampled_blocks import BlockTraining
from factorbox.models.sampled_config import SampledConfig
from factorbox.models.sampled_losses import SampledLoss, bpr, hinge, pointwise
from factorbox.models.sampled_torch import TorchTraining
from factorbox.threads import Threads

LOSSES: Mapping[str, tuple[SampledLoss, int]] = MappingProxyType(
    {
        "bpr": (bpr, kernels.BPR),
        "hinge": (hinge, kernels.HINGE),
        "adaptive_hinge": (hinge, kernels.HINGE),
        "pointwise": (pointwise, kernels.POINTWISE),
    }
)
"""The loss of each algorithm by its name: in torch, and what kernels call it."""


def fit(
    interactions: Interactions,
    *,
    algorithm: str,
    config: SampledConfig,
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model; see `factorbox.models.sampled.SampledFactorization.fit`."""
    loss, kernel_loss = LOSSES[algorithm]

    def trained(training: BlockTraining | TorchTraining) -> Factors:
        if start is not None:
            training.resume(start, algorithm=algorithm)
        return fitted_by_epochs(training.sweep, training.factors, epochs=config.epochs, watch=watch, start=start)

    if device == "cpu":
        with Threads(threads) as pool:
            return trained(
                BlockTraining(
                    interactions,
                    loss=kernel_loss,
                    config=config,
                    random_state=random_state,
                    threads=pool,
                    start=start,
                )
            )
    place = torch.device("cuda" if device == "cuda" else "cpu")
    with reproducible(threads, place), torch.inference_mode():
        return trained(
            TorchTraining(interactions, loss=loss, config=config, random_state=random_state, device=place, start=start)
        )
