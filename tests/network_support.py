"""Small random networks, and the plain arithmetic that they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Layers = Mapping[str, NDArray[np.float32]]


def random_layers(rng: np.random.Generator, sizes: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """Draw the weights of a network with these hidden sizes, and a prior of users' rows."""

    def draw(*shape: int) -> NDArray[np.float32]:
        values: NDArray[np.float64] = rng.standard_normal(shape)
        return np.asarray(values / np.sqrt(shape[-1]), dtype=np.float32)

    layers = {
        "hidden_bias": draw(sizes[0]),
        "output_weights": draw(sizes[-1]),
        "output_bias": draw(1),
        "prior_mean": draw(sizes[0]),
        "prior_precision": (0.5 + rng.random(sizes[0])).astype(np.float32),
    }
    for k in range(1, len(sizes)):
        layers |= {f"weights_{k}": draw(sizes[k], sizes[k - 1]), f"bias_{k}": draw(sizes[k])}
    return layers


def float32_score(p: NDArray[np.float32], q: NDArray[np.float32], layers: Layers, bias: np.float32) -> np.float32:
    """Score one pair number by number, in the order that kernels keep: the definition of every bit."""
    zero = np.float32(0)
    a = [max(x, zero) for x in (p + layers["hidden_bias"]) + q]
    for k in range(1, 1 + sum(name.startswith("weights_") for name in layers)):
        a = [max(_total(row, a) + c, zero) for row, c in zip(layers[f"weights_{k}"], layers[f"bias_{k}"], strict=True)]
    return np.float32(((_total(layers["output_weights"], a) + layers["output_bias"][0]) + bias) + zero)


def _total(weights: NDArray[np.float32], inputs: Sequence[np.float32]) -> np.float32:
    total = np.float32(0)
    for w, a in zip(weights, inputs, strict=True):
        total = np.float32(total + np.float32(w * a))
    return total
