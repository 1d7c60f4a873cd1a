"""What a training that starts from a fitted model has in common, whichever the algorithm.

Such a training finishes a model that was fitted to nearly all pairs: it begins where that one stands, with what its
optimizer had gathered, and makes some sweeps over everything.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factorbox.errors import AlgorithmError
from factorbox.models.base import Factors

TRAINED_ITEMS = "trained_items"
"""Name in `Factors.state` of the marks of items that had pairs, 1 or 0, (items,).

Where items are drawn as negatives, those without a pair have moved, too: they were only ever told that nobody wants
them, and begin anew once somebody does.
"""


def check_start(
    start: Factors,
    *,
    algorithm: str,
    user_factors: tuple[int, ...],
    item_factors: tuple[int, ...],
    state: Mapping[str, tuple[int, ...]],
) -> None:
    """Refuse to go on from a model of other shapes than the training has, or without the state that it needs.

    Parameters
    ----------
    user_factors, item_factors
        Shapes that the model must have.
    state
        Shape of each array of `Factors.state` that the training needs.

    Raises
    ------
    AlgorithmError
        Where the start does not fit.
    """
    wanted = {"user_factors": user_factors, "item_factors": item_factors, **state}
    found = {"user_factors": start.user_factors, "item_factors": start.item_factors, **start.state}
    for name, shape in wanted.items():
        if name not in found:
            raise AlgorithmError(
                f"{algorithm} cannot go on from a model without {name} in its state, which is never saved: start from"
                " what a training in this process returned"
            )
        if found[name].shape != shape:
            raise AlgorithmError(
                f"{algorithm} cannot go on from a model whose {name} has the shape {found[name].shape} and not {shape}:"
                " start from a model of the same users, items and hyperparameters"
            )


def generator_seed(random_state: int, *, start: Factors | None) -> int:
    """Return the seed of a training's draws; with a start, of others than those which led there."""
    if start is None:
        return random_state
    return int(np.random.SeedSequence([random_state, start.epochs]).generate_state(1, np.uint64)[0])


def marks(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return 1 for each row with pairs and 0 for each without.  # (rows,)."""
    return (counts > 0).astype(np.float32)
