"""Fold-in to a non-negative factorization: each history's own problem over v ≥ 0, solved exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.non_negative_kernels import solve_rows_non_negative
from factorbox.models.row_system import RowSystem


def fold_in_non_negative(system: RowSystem, histories: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimise ½ vᵀA v − bᵀv over v ≥ 0 for each history, with A and b as in `RowSystem`.

    Each history is solved by itself in a fixed order, so that the others in the call do not change a byte. Where A
    is singular (no regularization, and fewer items than components), 1e-8 times the largest diagonal element is added
    to the diagonal.

    Parameters
    ----------
    system
        The algorithm's problem, without biases.
    histories
        Distinct items, ascending. A history without items, or of zeros alone, gives the zero vector.

    Returns
    -------
    factors, biases
        float32, (requests, d) and (requests,); the biases are 0.

    Raises
    ------
    AlgorithmError
        Where numbers are not finite; it names the history, counted from 1.
    """
    requests = len(histories.counts)
    factors = np.empty((requests, system.item_factors.shape[1]), dtype=np.float32)
    terms = system.terms(histories)
    failed = solve_rows_non_negative(
        0,
        requests,
        histories.indptr,
        histories.indices,
        terms.c,
        terms.f * terms.p,
        system.item_factors,
        system.gram,
        system.constant,
        system.penalties(histories.counts),
        factors,
        np.empty(requests),
    )
    if failed >= 0:
        raise AlgorithmError(
            f"history {failed + 1} cannot be folded in: its values or the model's factors are not finite, or too"
            " large; train with more regularization"
        )
    return factors, np.zeros(requests, dtype=np.float32)
