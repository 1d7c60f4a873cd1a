"""Fold-in by a network: the row of a user who was not in training, by Newton's method.

The score is piecewise linear in the row p (of one hidden layer; nearly so of more), so the losses, convex in the score,
are taken for their second-order expansion with the network held linear (Gauss and Newton; Nocedal and Wright 2006,
section 10.3). A step solves

    (T + Σ_k w_k loss''_k g_k g_kᵀ) δ = τ (m − p) − Σ_k w_k loss'_k g_k,   g_k = ∂x̂_k/∂p,   T = diag(τ)

and is halved until the objective of `factorbox.models.network.NetworkProblem` decreases. The search starts from the
mean row m and ends after a bounded number of steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.network import NetworkProblem, PackedNetwork
from factorbox.models.rating_losses import fitted_values
from factorbox.recommend.network_fold_in_kernels import LOGISTIC, POISSON, SQUARED, STEPS, fold_in_rows

_SAMPLED_ITEMS = 256
"""Items that stand for those not seen: enough to tell a row's directions, few beside a catalogue."""

_KINDS = {"pointwise": LOGISTIC, "squared": SQUARED, "logistic": LOGISTIC, "poisson": POISSON}


def fold_in_network(problem: NetworkProblem, histories: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the row of each history and a bias of 0.

    Each history is solved by itself in a fixed order, so that the others in the call do not change a byte.

    Parameters
    ----------
    problem
        The algorithm's problem.
    histories
        Distinct items, ascending; the weights are the ratings, and are ignored for `pointwise`. A history without
        items gives the mean row.

    Returns
    -------
    factors, biases
        float32, (requests, h1) and (requests,).

    Raises
    ------
    AlgorithmError
        Where numbers are not finite.
    """
    network = PackedNetwork.of(problem.layers)
    shift = network.hidden_bias.astype(np.float64)
    prior = np.stack([problem.layers["prior_mean"] + shift, problem.layers["prior_precision"].astype(np.float64)])
    factors = np.empty((len(histories.counts), len(shift)), dtype=np.float32)
    failed = fold_in_rows(
        histories.indptr,
        histories.indices,
        _targets(problem, histories),
        sampled_items(problem),
        float(problem.num_negative_samples),
        problem.item_factors,
        network.sizes,
        network.weights.astype(np.float64),
        network.biases.astype(np.float64),
        network.output_weights.astype(np.float64),
        float(network.output_bias) + problem.global_mean,
        _KINDS[problem.loss],
        prior,
        factors,
    )
    if failed >= 0 or not np.isfinite(factors).all():
        which = failed if failed >= 0 else int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        raise AlgorithmError(
            f"history {which + 1} cannot be folded in: its values or the model's weights are not finite, or too large"
        )
    return factors - network.hidden_bias, np.zeros(len(factors), dtype=np.float32)


def sampled_items(problem: NetworkProblem) -> NDArray[np.int32]:
    """Return the items that stand for those not seen, evenly spread, ascending; none for a loss of ratings."""
    n_items = len(problem.item_factors)
    size = min(n_items, _SAMPLED_ITEMS) if problem.loss == "pointwise" else 0
    return (np.arange(size) * n_items // max(size, 1)).astype(np.int32)


def network_products(problem: NetworkProblem) -> tuple[int, int]:
    """Return about how many multiplications a fold-in takes at most: for each item of a history, and beside them."""
    network, d = PackedNetwork.of(problem.layers), problem.item_factors.shape[1]
    # The score, its gradient and the scores of shortened steps; and the gradient's part in the system.
    each = STEPS * (d**2 + 3 * (d + len(network.weights)))
    return each, len(sampled_items(problem)) * each + STEPS * d**3 // 3


def _targets(problem: NetworkProblem, histories: Rows) -> NDArray[np.float64]:
    """Return what is fitted for each item of the histories."""
    if problem.loss == "pointwise":
        return np.ones(len(histories.weights))
    return fitted_values(histories.weights, loss=problem.loss, like_above=problem.like_above).astype(np.float64)
