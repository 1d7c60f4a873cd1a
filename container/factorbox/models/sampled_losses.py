"""The sampled losses: value and derivatives for a score of an item seen and a score of one not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn.functional import relu, softplus

LossTerms: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The loss of each sample and its derivatives by x̂_ui and by x̂_uj, (samples,) each."""

SampledLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], LossTerms]
"""Maps x̂_ui and x̂_uj, (samples,) each, to the terms of the loss."""

_BLOCK = 1 << 14
"""Scores in one call of a loss. torch computes the last few numbers of each thread's share by another
routine than the rest, which differs in the last bit of exp; so few numbers stay on one thread."""


def bpr(x_ui: torch.Tensor, x_uj: torch.Tensor) -> LossTerms:
    """−log σ(x̂_ui − x̂_uj) (Rendle, Freudenthaler, Gantner, Schmidt-Thieme 2009, "BPR")."""
    margin = x_ui - x_uj
    slope = torch.sigmoid(-margin)
    return softplus(-margin), -slope, slope


def hinge(x_ui: torch.Tensor, x_uj: torch.Tensor) -> LossTerms:
    """max(0, 1 − x̂_ui + x̂_uj) (Weimer, Karatzoglou, Smola 2008, "Improving Maximum Margin MF")."""
    loss = relu(1 - x_ui + x_uj)
    slope = (loss > 0).to(loss.dtype)
    return loss, -slope, slope


def pointwise(x_ui: torch.Tensor, x_uj: torch.Tensor) -> LossTerms:
    """−log σ(x̂_ui) − log(1 − σ(x̂_uj)), the logistic loss of one positive and one negative.

    As in Johnson 2014, "Logistic Matrix Factorization for Implicit Feedback Data", with sampled negatives.
    """
    return softplus(-x_ui) + softplus(x_uj), -torch.sigmoid(-x_ui), torch.sigmoid(x_uj)


def in_blocks(loss: SampledLoss, x_ui: torch.Tensor, x_uj: torch.Tensor) -> LossTerms:
    """Apply a loss to blocks of fixed size, so that the result does not depend on the number of threads."""
    blocks = [loss(i, j) for i, j in zip(torch.split(x_ui, _BLOCK), torch.split(x_uj, _BLOCK), strict=True)]
    values, slopes_i, slopes_j = zip(*blocks, strict=True)
    return torch.cat(values), torch.cat(slopes_i), torch.cat(slopes_j)
