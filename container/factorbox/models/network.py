"""A small network as a scorer: its scores, what is kept of it, and the problem that gives a new user's row.

The network sees the concatenated embeddings of a user and an item. Its first layer is linear in them, so that it is a
sum of a part of the user and a part of the item. These parts are what a model keeps as factors: p_u and q_i, with h1
numbers each, h1 being the size of the first hidden layer. The score is

    x̂_ui = μ + net(p_u + q_i),
    net(z) = v · a_L + d,   a_1 = relu(z + c_1),   a_{k+1} = relu(W_k a_k + c_{k+1})

`layers` holds, all float32 and by these names:

=====================  =======================  ==================================
name                   shape                    what
=====================  =======================  ==================================
`hidden_bias`          (h1,)                    c_1
`weights_k`            (h_{k+1}, h_k)           W_k, k = 1, 2, …
`bias_k`               (h_{k+1},)               c_{k+1}
`output_weights`       (h_L,)                   v
`output_bias`          (1,)                     d
`prior_mean`           (h1,)                    of `NetworkProblem`
`prior_precision`      (h1,)                    of `NetworkProblem`
=====================  =======================  ==================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NetworkLoss = Literal["pointwise", "squared", "logistic", "poisson"]
"""What a network is fitted by: log loss of pairs seen and sampled ones not seen, or a loss of ratings."""


@dataclass(frozen=True, eq=False)
class PackedNetwork:
    """The layers of a network as kernels take them.

    Attributes
    ----------
    hidden_bias
        c_1, float32, (h1,).
    sizes
        int64, (L,): h_1, …, h_L.
    weights
        float32: the rows of W_1, W_2, …, one after another; empty for one hidden layer.
    biases
        float32: c_2, c_3, …, one after another.
    output_weights
        v, float32, (h_L,).
    output_bias
        d.
    """

    hidden_bias: NDArray[np.float32]
    sizes: NDArray[np.int64]
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    output_weights: NDArray[np.float32]
    output_bias: np.float32

    @classmethod
    def of(cls, layers: Mapping[str, NDArray[np.float32]]) -> PackedNetwork:
        """Pack the layers of a model."""
        weights, biases = _later_layers(layers)
        none = np.zeros(0, dtype=np.float32)
        return cls(
            # Copies: kernels are compiled for arrays that may be written, which those of a mapped file are not.
            hidden_bias=np.array(layers["hidden_bias"]),
            sizes=np.array([len(layers["hidden_bias"]), *(len(bias) for bias in biases)], dtype=np.int64),
            weights=np.concatenate([none, *(matrix.ravel() for matrix in weights)]),
            biases=np.concatenate([none, *biases]),
            output_weights=np.array(layers["output_weights"]),
            output_bias=np.float32(layers["output_bias"][0]),
        )


def network_scores(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    layers: Mapping[str, NDArray[np.float32]],
) -> NDArray[np.float64]:
    """Return net(p_u + q_i) of every pair in float64, without μ: the readable form of what kernels do.

    Parameters
    ----------
    user_factors, item_factors
        (users, h1) and (items, h1).
    layers
        See `factorbox.models.network`.

    Returns
    -------
    NDArray
        float64, (users, items).
    """
    z = user_factors[:, None, :].astype(np.float64) + item_factors  # (users, items, h1)
    a = np.maximum(z + layers["hidden_bias"], 0)
    for weights, bias in zip(*_later_layers(layers), strict=True):
        a = np.maximum(a @ weights.T.astype(np.float64) + bias, 0)  # (users, items, h_{k+1})
    return np.asarray(a @ layers["output_weights"].astype(np.float64) + layers["output_bias"])


def _later_layers(
    layers: Mapping[str, NDArray[np.float32]],
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return W_1, W_2, … and c_2, c_3, …."""
    numbers = range(1, 1 + sum(name.startswith("weights_") for name in layers))
    return [layers[f"weights_{k}"] for k in numbers], [layers[f"bias_{k}"] for k in numbers]


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """The problem that gives a user's row from a history while the items and the network stay as they are.

    The row p minimises, for a history S of distinct items with weights r_k,

        Σ_{k∈S} loss(r_k, x̂_k) + ½ Σ_f τ_f (p_f − m_f)²,   x̂_k = μ + net(p + q_k)

    with loss = ½ (r − x̂)², the log loss of σ(x̂) for labels 0 and 1, or exp(x̂) − r x̂. The second term is a Gaussian
    prior of the rows of users. For `pointwise` the loss is −log σ(x̂_k), and to the sum is added

        n |S| / |N| Σ_{j∈N} −log(1 − σ(x̂_j))

    for N the items of a fixed sample that are not in S: what the negatives of training come to on average.

    Attributes
    ----------
    item_factors
        q, float32, (items, h1).
    layers
        The network, with m in `prior_mean` and τ in `prior_precision`; see `factorbox.models.network`.
    global_mean
        μ.
    loss
        What is minimised.
    like_above
        For the logistic loss: a rating above this is a 1, any other a 0. None where the ratings are labels.
    num_negative_samples
        n.
    """

    item_factors: NDArray[np.float32]
    layers: Mapping[str, NDArray[np.float32]]
    global_mean: float
    loss: NetworkLoss
    like_above: float | None = None
    num_negative_samples: int = 1
