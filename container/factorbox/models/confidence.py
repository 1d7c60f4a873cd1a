"""Confidence transforms: how sure a liking is by how often something was played, visited or bought.

The confidence of a pair is c_ui = alpha · g(w_ui), w_ui > 0 being its weight:

* `linear`: g(w) = w (Hu, Koren, Volinsky 2008, equation 1 and what follows it).
* `log`: g(w) = log(1 + w / ε) with ε = 1 (their equation 6): the hundredth play says less than the second.
* `bm25`: with users as documents and items as terms (Robertson, Zaragoza 2009, "The Probabilistic Relevance Framework:
  BM25 and Beyond"),

      g(w_ui) = idf_i · (K1 + 1) w_ui / (w_ui + K1 (1 − B + B L_u / L̄)),   idf_i = log(1 + (N − n_i + ½) / (n_i + ½))

  where L_u = Σ_i w_ui, L̄ is its mean over the N users who have anything, and n_i of them have item i. It levels off,
  the sooner the less a user plays in all, and what everybody has says less than what few have. The 1 within the
  logarithm keeps the confidence of an item that most users have above 0.

Training and fold-in share this, so that they solve the same problem. N, n_i and L̄ are those of the training, whoever is
folded in; L_u is that of the history at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError

TRANSFORMS = ("linear", "log", "bm25")

K1 = 1.2
"""Where g levels off: at (K1 + 1) idf, half of which a user of mean length reaches with a weight of K1."""
B = 0.75
"""How much a long history counts for less: from 0, not at all, to 1, in full."""

_MEAN_LENGTH = "bm25_mean_length"


@dataclass(frozen=True, eq=False)
class Confidence:
    """A transform of weights, with its constants.

    Attributes
    ----------
    transform
        One of `TRANSFORMS`.
    idf
        float32, (items,), for `bm25`; empty for others.
    mean_length
        L̄ for `bm25`.
    """

    transform: str = "linear"
    idf: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    mean_length: float = 1.0

    @classmethod
    def of(cls, transform: str, *, interactions: Interactions) -> Confidence:
        """Take the constants of a transform from the interactions that a model is trained on."""
        if transform != "bm25":
            return cls(transform)
        rows = interactions.by_user()
        n = int(np.count_nonzero(rows.counts))
        users_of_items = np.bincount(rows.indices, minlength=interactions.n_items)
        idf = np.log1p((n - users_of_items + 0.5) / (users_of_items + 0.5))
        return cls(transform, idf=idf.astype(np.float32), mean_length=float(_lengths(rows).sum() / n))

    @classmethod
    def from_constants(cls, transform: str, *, idf: NDArray[np.float32], constants: Mapping[str, float]) -> Confidence:
        """Put a transform together again from what a model keeps of it: `idf` and `constants`.

        Raises
        ------
        AlgorithmError
            Where a model of `bm25` has lost them.
        """
        if transform != "bm25":
            return cls(transform)
        if not len(idf) or _MEAN_LENGTH not in constants:
            raise AlgorithmError(
                f"the model was trained with confidence=bm25 and has no idf or no {_MEAN_LENGTH}: train it anew"
            )
        return cls(transform, idf=idf, mean_length=constants[_MEAN_LENGTH])

    @property
    def constants(self) -> dict[str, float]:
        """What a model keeps beside `idf`."""
        return {_MEAN_LENGTH: self.mean_length} if self.transform == "bm25" else {}

    def weighed(self, interactions: Interactions) -> Interactions:
        """Return the same pairs with g(w) in the place of w."""
        if self.transform == "linear":
            return interactions
        return replace(interactions, weights=self.transformed(interactions.by_user()))

    def transformed(self, histories: Rows) -> NDArray[np.float32]:
        """Return g of each weight.

        Parameters
        ----------
        histories
            Whole histories, a row a user: a part of one would have another length.

        Returns
        -------
        NDArray
            float32, (entries,).
        """
        if self.transform == "linear":
            return histories.weights
        weights = histories.weights.astype(np.float64)
        if self.transform == "log":
            return np.log1p(weights, out=weights).astype(np.float32)
        levels = K1 * (1 - B + B / self.mean_length * _lengths(histories))  # (users,)
        saturated = np.repeat(levels, histories.counts)
        saturated += weights
        np.divide(weights, saturated, out=saturated)
        saturated *= (K1 + 1) * self.idf[histories.indices]
        return saturated.astype(np.float32)


LINEAR = Confidence()
"""Weights as they are."""


def _lengths(rows: Rows) -> NDArray[np.float64]:
    """Return the sum of the weights of each row.  # (rows,)."""
    lengths = np.zeros(len(rows.counts))
    some = np.flatnonzero(rows.counts)
    # The slice of a row without entries would be read as one entry.
    lengths[some] = np.add.reduceat(rows.weights, rows.indptr[some], dtype=np.float64) if len(some) else 0.0
    return lengths
