"""What the weight of a pair means: how often or how much (implicit feedback), or a rating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from factorbox.data.fields import MAX_WEIGHT, MIN_WEIGHT


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What an algorithm takes the weights of the data for.

    Attributes
    ----------
    kind
        `implicit`: a weight says how sure it is that a user likes an item, and those of a repeated pair add up.
        `ratings`: a weight is what a model predicts, and of a repeated pair the latest counts.
    minimum
        Smallest weight that makes sense.
    uses_weights
        Whether weights matter at all.
    needs_weights
        Whether data without a column of weights are refused.
    """

    kind: Literal["implicit", "ratings"]
    minimum: float
    uses_weights: bool = True
    needs_weights: bool = False

    @property
    def rule(self) -> str:
        """Which weights are allowed, for errors."""
        if self.kind == "implicit":
            return "a weight must be a finite number above 0 (from 1.2e-38 to 3.4e38)"
        at_least = " of at least 0" if self.minimum == 0 else ""
        return f"a rating must be a finite number{at_least} (up to 3.4e38)"


IMPLICIT = Feedback(kind="implicit", minimum=MIN_WEIGHT)
"""Weights are confidences."""
PAIRS = Feedback(kind="implicit", minimum=MIN_WEIGHT, uses_weights=False)
"""Weights are checked, and ignored."""
RATINGS = Feedback(kind="ratings", minimum=-MAX_WEIGHT, needs_weights=True)
"""Any finite numbers."""
COUNTS = Feedback(kind="ratings", minimum=0.0, needs_weights=True)
"""Ratings that cannot be negative."""
CELLS = Feedback(kind="ratings", minimum=0.0)
"""Entries of a non-negative matrix: 1 for each pair where the data have no weights."""
