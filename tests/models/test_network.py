"""The readable form of a network's scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factorbox.models.network import PackedNetwork, network_scores
from network_support import random_layers


@pytest.mark.parametrize("sizes", [[5], [5, 3], [4, 6, 2]], ids=str)
def test_scores_are_those_of_the_layers_in_torch(rng: np.random.Generator, sizes: list[int]) -> None:
    layers = random_layers(rng, sizes)
    p, q = rng.standard_normal((6, sizes[0])), rng.standard_normal((7, sizes[0]))
    found = network_scores(p.astype(np.float32), q.astype(np.float32), layers)
    a = torch.relu(torch.tensor(p[:, None, :] + q + layers["hidden_bias"]))
    for k in range(1, len(sizes)):
        a = torch.relu(
            torch.nn.functional.linear(
                a, torch.tensor(layers[f"weights_{k}"]).double(), torch.tensor(layers[f"bias_{k}"]).double()
            )
        )
    expected = a @ torch.tensor(layers["output_weights"]).double() + float(layers["output_bias"][0])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_packed_layers_keep_their_order(rng: np.random.Generator) -> None:
    layers = random_layers(rng, [4, 6, 2])
    # The order in which a file lists them does not matter.
    packed = PackedNetwork.of(dict(sorted(layers.items(), reverse=True)))
    assert packed.sizes.tolist() == [4, 6, 2]
    np.testing.assert_array_equal(packed.weights[:24].reshape(6, 4), layers["weights_1"])
    np.testing.assert_array_equal(packed.weights[24:].reshape(2, 6), layers["weights_2"])
    np.testing.assert_array_equal(packed.biases, np.concatenate([layers["bias_1"], layers["bias_2"]]))
