"""Which weights a file may hold: the one rule that every parser asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import Feedback
from factorbox.data.fields import MAX_WEIGHT


@dataclass(frozen=True, kw_only=True)
class WeightRule:
    """What the weights of a data set must be.

    Attributes
    ----------
    feedback
        What the weights are taken for.
    min_rating
        Rows below it are dropped, so that their weight may be any finite number.
    """

    feedback: Feedback
    min_rating: float | None

    @overload
    def usable(self, weights: NDArray[np.float64]) -> NDArray[np.bool_]: ...

    @overload
    def usable(self, weights: float) -> bool: ...

    def usable(self, weights: Any) -> Any:
        """Whether a weight, or each one of a float64 array, is in range or, being finite, below `min_rating`."""
        usable = (weights >= self.feedback.minimum) & (weights <= MAX_WEIGHT)
        if self.min_rating is not None:
            usable |= np.isfinite(weights) & (weights < self.min_rating)
        return usable

    def fault(self, weight: float) -> str:
        """Say what is wrong with a weight that is not usable, and how to mend it."""
        remedy = "mend or remove the row"
        if -np.inf < weight < self.feedback.minimum:
            if self.min_rating is None:
                remedy += ", or set the hyperparameter min_rating to drop low values (not with filters=any)"
            else:
                remedy += f", or raise min_rating={self.min_rating:g}: it drops only the rows whose weight is below it"
            if self.feedback.kind == "ratings" and self.feedback.minimum == 0:
                remedy += "; algorithm=explicit with loss=squared takes negative ratings"
        return f"{self.feedback.rule}; {remedy}"
