"""An order of vectors in which those that are alike stand together, so that a picture of them shows structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spectral_order(vectors: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return an order in which vectors that differ from the mean in like directions stand together.

    They are sorted by the eigenvector of the second smallest eigenvalue of the normalised Laplacian of their
    similarities, 1 + cosine (Atkins, Boman, Hendrickson 1998, "A Spectral Algorithm for Seriation and the
    Consecutive Ones Problem"). The first of the vectors stands in the first half of the order.

    Parameters
    ----------
    vectors
        (vectors, d), a few hundred; one that is the mean is like all others.

    Returns
    -------
    NDArray[np.int64]
        (vectors,): positions.
    """
    exact = vectors.astype(np.float64)
    if len(exact) < 3:
        return np.arange(len(exact))
    exact -= exact.mean(axis=0)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    directions = np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0)
    similarity = 1 + directions @ directions.T
    scale = 1 / np.sqrt(similarity.sum(axis=1))
    _, eigenvectors = np.linalg.eigh(similarity * scale[:, None] * scale)
    # The largest eigenvalue of the normalised similarity is the smallest of the Laplacian. Rounded, for ties.
    along = (eigenvectors[:, -2] * scale).round(9)
    order = np.argsort(along, kind="stable")
    return order if np.flatnonzero(order == 0)[0] < len(order) / 2 else order[::-1]
