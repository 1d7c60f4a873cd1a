"""When the rows of a data set happened: counts over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Activity:
    """Rows by day.

    Attributes
    ----------
    days
        int64, (days with rows,): days since 1970-01-01 (UTC), ascending.
    counts
        int64, (days with rows,): rows of each.
    """

    days: NDArray[np.int64]
    counts: NDArray[np.int64]
