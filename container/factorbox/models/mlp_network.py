"""The network that `mlp` trains: forward and backward through dropout, linear layers and relu.

With x = [e_u; e_i] (2d,), masks D of dropout, whose elements are 0, or 1 / (1 − share) for those that stay:

    a_0 = D_0 x,   a_k = D_k relu(W_{k−1} a_{k−1} + c_k),   x̂ = v·a_L + d

The gradients are written out: with s the derivative of the loss by x̂, g_L = s v, and for k = L, …, 1

    z_k = g_k ∘ D_k ∘ [a_k > 0],   ∂W_{k−1} = z_k a_{k−1}ᵀ,   ∂c_k = z_k,   g_{k−1} = W_{k−1}ᵀ z_k
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from factorbox.models.adam import AdamTable

Slopes = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Maps x̂, (samples,), to the loss of each sample and its derivative."""


@dataclass(frozen=True, eq=False)
class Gradients:
    """What some samples give.

    Attributes
    ----------
    losses
        (samples,).
    inputs
        Gradient of each sample's loss by its input x, (samples, 2d).
    parameters
        Sum over the samples of the gradients by W_0, c_1, W_1, c_2, …, v, d, each in the shape of its table.
    """

    losses: torch.Tensor
    inputs: torch.Tensor
    parameters: list[torch.Tensor]


class Network:
    """Weights of the network, which take steps of Adam.

    Parameters
    ----------
    inputs
        Numbers in x.
    sizes
        Units of each hidden layer.
    dropout_before, dropout_after
        Shares that dropout leaves out of x and of each hidden layer.
    generator
        Draws the weights, from normal distributions of variance 2 / inputs of a layer (He, Zhang, Ren, Sun 2015).
    device
        Where the weights are.
    """

    def __init__(
        self,
        inputs: int,
        *,
        sizes: Sequence[int],
        dropout_before: float,
        dropout_after: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._dropout = (dropout_before, *(dropout_after for _ in sizes))

        def drawn(rows: int, columns: int, gain: float) -> AdamTable:
            values = torch.randn(rows, columns, generator=generator, device=device)
            return AdamTable(values.mul_(math.sqrt(gain / columns)))

        self.tables: list[AdamTable] = []
        """Of `parameters`, in their order."""
        for width, size in zip((inputs, *sizes), sizes, strict=False):
            self.tables += [drawn(size, width, 2.0), AdamTable(torch.zeros(1, size, device=device))]
        self.tables += [drawn(1, sizes[-1], 1.0), AdamTable(torch.zeros(1, 1, device=device))]

    @property
    def parameters(self) -> list[torch.Tensor]:
        """W_0, c_1, W_1, c_2, …, v, d; all of them matrices, vectors of one row."""
        return [table.values for table in self.tables]

    @property
    def hidden(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(W_0, c_1), (W_1, c_2), …."""
        layers = self.parameters[:-2]
        return list(zip(layers[::2], layers[1::2], strict=True))

    def gradients(self, x: torch.Tensor, *, slopes: Slopes, generator: torch.Generator) -> Gradients:
        """Return losses and gradients of some samples with inputs x, (samples, 2d), under dropout."""
        masks = [self._mask(x, x.shape[1], self._dropout[0], generator)]
        activations = [_masked(x, masks[0])]
        for (weights, bias), share in zip(self.hidden, self._dropout[1:], strict=True):
            z = torch.addmm(bias, activations[-1], weights.T)
            masks.append(self._mask(x, len(weights), share, generator))
            activations.append(_masked(torch.relu_(z), masks[-1]))
        output, intercept = self.parameters[-2:]
        losses, s = slopes((activations[-1] @ output.T + intercept)[:, 0])

        parameters = [s[None, :] @ activations[-1], s.sum().view(1, 1)]
        g = s[:, None] * output  # (samples, h_L)
        for k in range(len(self.hidden), 0, -1):
            z = _masked(g, masks[k]) * (activations[k] > 0)
            parameters[:0] = [z.T @ activations[k - 1], z.sum(dim=0, keepdim=True)]
            g = z @ self.hidden[k - 1][0]
        return Gradients(losses, _masked(g, masks[0]), parameters)

    def step(
        self, sums: Sequence[torch.Tensor], *, samples: int, regularization: float, learning_rate: float, number: int
    ) -> None:
        """Move the parameters, given the gradients that some samples add up to; biases have no penalty."""
        for position, (table, total) in enumerate(zip(self.tables, sums, strict=True)):
            gradient = total / samples
            if position % 2 == 0:
                gradient += regularization * table.values
            everything = torch.arange(len(gradient), device=gradient.device)
            table.step(gradient, number=number, learning_rate=learning_rate, rows=everything)

    @staticmethod
    def _mask(x: torch.Tensor, columns: int, share: float, generator: torch.Generator) -> torch.Tensor | None:
        if share == 0:
            return None
        kept = torch.empty(len(x), columns, device=x.device).bernoulli_(1 - share, generator=generator)
        return kept.mul_(1 / (1 - share))


def _masked(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return values if mask is None else values * mask
