"""Principal components: the few directions in which vectors differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Shares of the sum of squares below these are rounding, not differences.
_NOISE_OF_ALL = 1e-12
_NOISE_OF_VARIANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Components:
    """Vectors in the directions of their largest variance.

    Attributes
    ----------
    coordinates
        float64, (vectors, components): each column has mean 0.
    explained
        float64, (components,): share of the variance of all dimensions, largest first.
    """

    coordinates: NDArray[np.float64]
    explained: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.explained)


def principal_components(vectors: NDArray[np.floating], *, most: int = 3) -> Components:
    """Return the principal components of some vectors: as many as there are, at most `most`.

    With X the vectors less their mean, the components are the eigenvectors of XᵀX with the largest eigenvalues, and
    an eigenvalue's share of their sum is what its component explains. A component's sign is such that the coordinate
    which is farthest from 0 is positive, the first of several.

    Parameters
    ----------
    vectors
        (vectors, d). Where they are all equal there is no component.
    """
    exact = vectors.astype(np.float64)
    centred = exact - exact.mean(axis=0)  # (vectors, d)
    variance = float(np.square(centred).sum())
    if variance <= _NOISE_OF_ALL * float(np.square(exact).sum()):
        return Components(np.zeros((len(exact), 0)), np.zeros(0))
    few_vectors = len(centred) < centred.shape[1]
    # The smaller of both products has the same eigenvalues beside zeros.
    values, directions = np.linalg.eigh(centred @ centred.T if few_vectors else centred.T @ centred)
    kept = np.flatnonzero(values > _NOISE_OF_VARIANCE * variance)[::-1][:most]
    coordinates = directions[:, kept] * np.sqrt(values[kept]) if few_vectors else centred @ directions[:, kept]
    # Rounded, so that of two that are equal but for their last bits the first decides.
    farthest = np.argmax(np.abs(coordinates).round(12 - _magnitude(coordinates)), axis=0)
    signs = np.sign(coordinates[farthest, np.arange(len(kept))])
    return Components(coordinates * signs, values[kept] / variance)


def _magnitude(values: NDArray[np.float64]) -> int:
    """Return the position of the first digit of the largest number."""
    return int(np.ceil(np.log10(np.abs(values).max())))
