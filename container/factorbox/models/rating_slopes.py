"""Values and derivatives of the losses of ratings (`factorbox.models.rating_losses`).

With its canonical link, the first derivative of each loss by x̂ is the mean less the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.nn.functional import softplus

_BLOCK = 1 << 14
"""Scores in one call: see `factorbox.models.sampled_losses.in_blocks`."""


@dataclass(frozen=True)
class Loss:
    """One loss of ratings.

    Attributes
    ----------
    value
        Loss of predictions x̂ and values y, (samples,) each.
    mean
        The mean for x̂; the derivative of the loss by x̂ is the mean less y.
    curvature
        The second derivative of the loss, given the mean.
    """

    value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    mean: Callable[[torch.Tensor], torch.Tensor]
    curvature: Callable[[torch.Tensor], torch.Tensor]

    def in_blocks(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss and slope of many predictions, in blocks of fixed size: the same for any number of threads."""
        blocks = [
            (self.value(x_block, y_block), self.mean(x_block) - y_block)
            for x_block, y_block in zip(torch.split(x, _BLOCK), torch.split(y, _BLOCK), strict=True)
        ]
        values, slopes = zip(*blocks, strict=True)
        return torch.cat(values), torch.cat(slopes)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        # ½ (x̂ − y)².
        "squared": Loss(lambda x, y: 0.5 * (x - y).square(), torch.clone, torch.ones_like),
        # −y log σ(x̂) − (1 − y) log(1 − σ(x̂)).
        "logistic": Loss(lambda x, y: softplus(x) - y * x, torch.sigmoid, lambda mean: mean * (1 - mean)),
        # exp(x̂) − y x̂.
        "poisson": Loss(lambda x, y: torch.exp(x) - y * x, torch.exp, torch.clone),
    }
)
"""Each of `factorbox.models.row_system.RatingLoss` by its name."""
