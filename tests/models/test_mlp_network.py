"""The written-out gradients against those that torch derives, and dropout."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import softplus

from factorbox.models.mlp_network import Network


def network_of(sizes: list[int], *, before: float = 0.0, after: float = 0.0) -> Network:
    return Network(
        6,
        sizes=sizes,
        dropout_before=before,
        dropout_after=after,
        generator=torch.Generator().manual_seed(3),
        device=torch.device("cpu"),
    )


def slopes(x: torch.Tensor, *, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return softplus(x) - y * x, torch.sigmoid(x) - y


@pytest.mark.parametrize("sizes", [[5], [8, 7], [8, 9, 7]], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_gradients_are_those_of_autograd(sizes: list[int], share: float) -> None:
    network = network_of(sizes, before=share / 2, after=share)
    x, y = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)), torch.arange(40) % 2
    found = network.gradients(x, slopes=partial(slopes, y=y), generator=torch.Generator().manual_seed(2))

    masks = torch.Generator().manual_seed(2)

    def dropped(values: torch.Tensor, rate: float) -> torch.Tensor:
        if not rate:
            return values
        return values * torch.empty_like(values).bernoulli_(1 - rate, generator=masks) / (1 - rate)

    parameters = [values.clone().requires_grad_() for values in network.parameters]
    inputs = x.clone().requires_grad_()
    a = dropped(inputs, share / 2)
    for weights, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        a = dropped(torch.relu(a @ weights.T + bias), share)
    losses = slopes((a @ parameters[-2].T + parameters[-1])[:, 0], y=y)[0]
    losses.sum().backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(found.losses, losses.detach())
    assert inputs.grad is not None and inputs.grad.any()
    torch.testing.assert_close(found.inputs, inputs.grad)
    for gradient, parameter in zip(found.parameters, parameters, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_dropout_keeps_the_mean_of_what_goes_through() -> None:
    network = network_of([64], before=0.3)
    seen: list[torch.Tensor] = []

    def look(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(x)
        return x, torch.ones_like(x)

    # The derivative by the input is linear in the mask of the input as long as no relu switches: a large bias.
    network.parameters[1].fill_(1000.0)
    x = torch.ones(4000, 6)
    with_dropout = network.gradients(x, slopes=look, generator=torch.Generator().manual_seed(5)).inputs
    without = (network.parameters[-2] @ network.parameters[0]).expand(4000, 6)
    torch.testing.assert_close(with_dropout.mean(dim=0), without[0], rtol=0.1, atol=0.05)
    assert (with_dropout == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_a_step_of_the_network_is_that_of_torchs_adam() -> None:
    network = network_of([5, 3])
    before = [values.clone() for values in network.parameters]
    reference = [values.clone().requires_grad_() for values in before]
    adam = torch.optim.Adam(reference, lr=0.01)
    generator = torch.Generator().manual_seed(4)
    for number in (1, 2, 3):
        sums = [torch.randn(values.shape, generator=generator) for values in before]
        for position, (parameter, total) in enumerate(zip(reference, sums, strict=True)):
            penalty = 0.5 * parameter.detach() if position % 2 == 0 else 0.0
            parameter.grad = total / 10 + penalty
        adam.step()
        network.step(sums, samples=10, regularization=0.5, learning_rate=0.01, number=number)
    for values, parameter in zip(network.parameters, reference, strict=True):
        torch.testing.assert_close(values, parameter.detach())
