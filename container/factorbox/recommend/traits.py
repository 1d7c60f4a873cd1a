"""What sets one algorithm's model apart for those who ask it: what histories mean, and what its scores are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import Feedback
from factorbox.data.fields import MAX_WEIGHT, MIN_WEIGHT
from factorbox.models.base import Link
from factorbox.recommend.queries import Query

LEAST_LIKELY = 0.5
"""The least probability whose `predicted_label` is 1."""

_LARGEST_LOG = np.log(MAX_WEIGHT)


class Misfit(NamedTuple):
    """Something that a query asks, and this model cannot answer.

    Attributes
    ----------
    field
        The field of the request.
    item_id
        The item of a history whose value is at fault; None where the whole field is.
    value
        The value at fault.
    problem
        What is wrong and how to mend it, to be read after the field and its value.
    """

    field: Literal["explain", "history", "sequence"]
    item_id: str | None
    value: float
    problem: str


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What sets one algorithm's model apart.

    Attributes
    ----------
    algorithm
        Its name.
    feedback
        What the values of a history mean.
    link
        What turns x̂, which models rank by, into the score of an answer.
    explains
        Whether a score is a sum over the history.
    listed_value
        The value of each item of a history that is a plain list.
    """

    algorithm: str
    feedback: Feedback
    link: Link = "identity"
    explains: bool = True
    listed_value: float = 1.0

    @property
    def labels(self) -> bool:
        """Whether scores are probabilities, so that one of at least `LEAST_LIKELY` predicts a like."""
        return self.link == "sigmoid"

    @property
    def not_explained(self) -> str:
        """Why a model that does not explain cannot, and what to do."""
        return (
            f"does not go with algorithm={self.algorithm}, whose score is no sum over the history: leave it out, or"
            " train another algorithm, such as als or explicit"
        )

    @property
    def repeats(self) -> Literal["add", "replace"]:
        """What several values for one item of a history come to: their sum, or the last."""
        return "add" if self.feedback.kind == "implicit" else "replace"

    def shown(self, ranked_by: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores of answers: the link of x̂, which keeps the order, and NaN.

        It is worked out in float64 and rounded; where an exponential is beyond float32, it is the largest float32.
        """
        if self.link == "identity":
            return ranked_by
        x = ranked_by.astype(np.float64)
        if self.link == "exp":
            return np.minimum(np.exp(np.minimum(x, _LARGEST_LOG)), MAX_WEIGHT).astype(np.float32)
        # exp of what is not positive: never infinite.
        e = np.exp(-np.abs(x))
        return (np.where(x >= 0, 1.0, e) / (1.0 + e)).astype(np.float32)

    def misfit(self, query: Query) -> Misfit | None:
        """Return what of a query does not suit the model, None where all does.

        Only the values of a history, which must be finite, take more than a moment: one pass over them.
        """
        if query.explain and not self.explains:
            return Misfit("explain", None, query.explain, self.not_explained)
        history = query.history
        if not isinstance(history, Mapping) or min(history.values(), default=np.inf) >= self.feedback.minimum:
            return None
        item_id, value = next(entry for entry in history.items() if entry[1] < self.feedback.minimum)
        noun, remedy = value_words(self.feedback)
        return Misfit(
            "history" if query.sequence_id is None else "sequence", item_id, value, f"is not a {noun}: {remedy}"
        )


def value_words(feedback: Feedback) -> tuple[str, str]:
    """Return what a value of a history is called, and what to give instead of a wrong one."""
    if feedback.kind == "implicit":
        return "weight", f"give a number above 0 (from {MIN_WEIGHT:.1e} to {MAX_WEIGHT:.1e}), or leave the item out"
    least = "a finite number" if feedback.minimum < 0 else f"a number of at least {feedback.minimum:g}"
    return "rating", f"give {least} (up to {MAX_WEIGHT:.1e}), or leave the item out"
