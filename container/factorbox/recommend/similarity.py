"""Cosine similarity of factors: what similar items and similar users are ranked by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.candidates import Candidates

_BLOCK_ROWS = 65536
# A vector this short has lost its direction to rounding: it is like nothing.
_SHORTEST = 1e-30


def inverse_norms(factors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 1 / |h| of each row, 0 for a row of zeros, whose every cosine is then 0.  # (rows,)."""
    inverse = np.zeros(len(factors))
    for start in range(0, len(factors), _BLOCK_ROWS):
        # By blocks: the float64 copy of a whole catalogue would cost every worker twice its size.
        norms = np.sqrt(np.square(factors[start : start + _BLOCK_ROWS], dtype=np.float64).sum(axis=1))
        np.divide(1.0, norms, out=inverse[start : start + _BLOCK_ROWS], where=norms > _SHORTEST)
    return inverse


def by_cosine(factors: NDArray[np.float32], *, available: NDArray[np.bool_] | None = None) -> Candidates:
    """Return candidates whose score with a vector is their cosine, w·h / (|w| |h|); biases do not count.

    The scale of the vector that asks is `inverse_norms` of it.
    """
    none = np.zeros(len(factors), dtype=np.float32)
    return Candidates(factors, none, scales=inverse_norms(factors), available=available)
