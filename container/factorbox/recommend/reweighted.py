"""Fold-in by the logistic and the Poisson loss: the least-squares system solved again and again with new weights.

Iteratively reweighted least squares (McCullagh and Nelder 1989, section 2.5) are Newton's method: each step solves the
system of `factorbox.models.row_system.RowSystem` with the working weights and values at the row before it. A step
that does not lower the objective is halved. Both losses are convex, so with a penalty there is one solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.rating_losses import fitted_values
from factorbox.models.row_system import RowSystem
from factorbox.recommend.reweighted_kernels import solve_reweighted


@dataclass(frozen=True, eq=False)
class Reweighted:
    """The rows of some histories, and the least-squares systems that they solve.

    Attributes
    ----------
    factors, biases
        float32, (requests, d) and (requests,); the biases are 0 where users have none.
    c, z
        float64, (entries,): the working weights at the solution, and times them the working values for the factors
        alone, the bias being what it is.
    failed
        The first history whose system could not be factored, −1 if there is none.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    c: NDArray[np.float64]
    z: NDArray[np.float64]
    failed: int


def reweighted(system: RowSystem, histories: Rows) -> Reweighted:
    """Minimise the loss of each history by itself; others in the call do not change a byte."""
    requests, entries = len(histories.counts), len(histories.indices)
    factors = np.empty((requests, system.item_factors.shape[1]), dtype=np.float32)
    biases = np.empty(requests, dtype=np.float32)
    c, z = np.empty(entries), np.empty(entries)
    failed = solve_reweighted(
        system.loss == "poisson",
        histories.indptr,
        histories.indices,
        fitted_values(histories.weights, loss=system.loss, like_above=system.like_above).astype(np.float64),
        system.targets[histories.indices].astype(np.float64),
        system.item_factors,
        system.gram,
        system.constant,
        system.penalties(histories.counts),
        factors,
        biases,
        c,
        z,
    )
    return Reweighted(factors, biases, c, z, failed)
