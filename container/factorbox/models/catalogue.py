"""Sums over all items of a catalogue, the constant part of the problems by which users are folded in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.models.dense_kernels import BLOCK_ITEMS, form


def sums_over_items(
    item_factors: NDArray[np.float32], *, targets: NDArray[np.float64], has_bias: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Σ_i x_i x_iᵀ and Σ_i t_i x_i, where x_i are the factors of item i, with a 1 appended for a bias.

    One kernel adds them up in the order of the items. It is no product of torch, which a server starts without.

    Parameters
    ----------
    item_factors
        float32, (items, d).
    targets
        t, float64, (items,).
    has_bias
        Whether m = d + 1.

    Returns
    -------
    gram, moments
        float64, (m, m) and (m,).
    """
    n_items, d = item_factors.shape
    m = d + has_bias
    upper, moments = np.empty((m, m)), np.empty(m)
    form(
        np.arange(n_items, dtype=np.int32),
        np.ones(n_items),
        targets,
        item_factors,
        np.zeros((m, m)),
        np.zeros(m),
        0.0,
        np.empty((BLOCK_ITEMS, m)),
        upper,
        moments,
    )
    return np.triu(upper) + np.triu(upper, 1).T, moments
