"""The sampled losses against their definitions, and their slopes against automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch

from factorbox.models.sampled_losses import SampledLoss, bpr, hinge, in_blocks, pointwise


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("x_ui", "x_uj"), [(0.0, 0.0), (1.5, -0.5), (-2.0, 0.25)])
def test_each_loss_has_its_textbook_value(x_ui: float, x_uj: float) -> None:
    i, j = torch.tensor([x_ui]), torch.tensor([x_uj])
    assert bpr(i, j)[0].item() == pytest.approx(-math.log(sigmoid(x_ui - x_uj)), rel=1e-5)
    assert hinge(i, j)[0].item() == pytest.approx(max(0.0, 1 - x_ui + x_uj))
    expected = -math.log(sigmoid(x_ui)) - math.log(1 - sigmoid(x_uj))
    assert pointwise(i, j)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [bpr, hinge, pointwise])
def test_slopes_are_the_derivatives_of_the_loss(loss: SampledLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    i, j = (torch.randn(500, generator=generator).mul_(3).requires_grad_() for _ in range(2))
    value, slope_i, slope_j = loss(i, j)
    expected_i, expected_j = torch.autograd.grad(value.sum(), (i, j))
    torch.testing.assert_close(slope_i, expected_i)
    torch.testing.assert_close(slope_j, expected_j)


@pytest.mark.parametrize("loss", [bpr, hinge, pointwise])
def test_large_scores_give_finite_losses(loss: SampledLoss) -> None:
    for i, j in ((1e4, -1e4), (-1e4, 1e4)):
        assert all(term.isfinite().all() for term in loss(torch.tensor([i]), torch.tensor([j])))


def test_blocks_give_every_sample_its_loss_in_order() -> None:
    generator = torch.Generator().manual_seed(1)
    i, j = (torch.randn(40_000, generator=generator) for _ in range(2))
    for whole, parts in zip(hinge(i, j), in_blocks(hinge, i, j), strict=True):
        assert torch.equal(whole, parts)
