"""A small network as a scorer: what is kept of it, and the problem that gives a new user's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """The problem that gives a user's row from a history while the items and the network stay as they are.

    Attributes
    ----------
    item_factors
        float32, (items, d).
    layers
        The weights of the network by name.
    constants
        `Factors.fold_in` of the training.
    """

    item_factors: NDArray[np.float32]
    layers: Mapping[str, NDArray[np.float32]]
    constants: Mapping[str, float]
