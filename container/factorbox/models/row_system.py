"""The problem that gives a user's row from a history, as every algorithm but `mlp` states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.confidence import LINEAR, Confidence
from factorbox.models.network import NetworkProblem

RatingLoss = Literal["squared", "logistic", "poisson"]
"""Losses of ratings: squared error; log loss of σ(x̂) for labels 0 and 1; exp(x̂) − r x̂ for r ≥ 0."""


def frequency_penalties(
    counts: NDArray[np.int64], *, offset: float, regularization: float, exponent: float
) -> NDArray[np.float64]:
    """Return ρ = λ (|S| + offset)^ν for rows with so many entries.  # (rows,).

    Training and fold-in share this, so that they solve the same problem.
    """
    return np.asarray(regularization * (counts + offset) ** exponent)


@dataclass(frozen=True, eq=False)
class Terms:
    """What the entries of some histories add to their users' systems; see `RowSystem`.

    Attributes
    ----------
    c
        float64, (entries,): weight of x_k x_kᵀ in A.
    f
        float64, (entries,): influence per x_iᵀ A⁻¹ x_k.
    p
        float64, (entries,): the value that the model fits, so that f_k p_k x_k is added to the right-hand side.
    """

    c: NDArray[np.float64]
    f: NDArray[np.float64]
    p: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowSystem:
    """The problem that gives a user's row from a history while the items stay as they are.

    With x_k the factors of item k, a 1 appended where users have a bias, and v the user's factors, with the bias
    appended, it is for the squared loss

        A v = g + Σ_{k∈S} f_k p_k x_k,   A = G + Σ_{k∈S} c_k x_k x_kᵀ + λ (|S| + offset)^ν I

    for a history S of distinct items with weights r_k, and m = d or d + 1 unknowns. Of implicit feedback a model fits
    p_k = 1, with c_k = alpha · g(r_k) (or 1) and f_k = c_k t_k; of ratings it fits p_k = r_k + t_k, with f_k = 1, and
    c_k = 1 (or 0 where G holds every cell's x_k x_kᵀ already).

    For the logistic and the Poisson loss with mean σ(x̂) or exp(x̂), and x̂_k = x_k·v − t_k, it is the minimum of

        Σ_{k∈S} loss(r_k, x̂_k) + ½ vᵀ (G + λ (|S| + offset)^ν I) v − g·v

    which solves the same system with the working weights c_k = f_k = loss''(x̂_k) and the working values
    p_k = x_k·v − loss'(x̂_k) / c_k (iteratively reweighted least squares; McCullagh and Nelder 1989, section 2.5).

    Attributes
    ----------
    item_factors
        float32, (items, d).
    has_bias
        Whether m = d + 1.
    gram
        G, float64, (m, m).
    constant
        g, float64, (m,).
    targets
        t, float32, (items,). Implicit: what the model fits for each item once it is in a history, less the item's
        bias. Ratings: −μ − b_k, less which a rating is fitted.
    offsets
        float32, (items,): what of each item's x̂ no unknown explains: μ + b_i.
    alpha
        c_k = alpha · g(weight_k); None where weights are ignored and c_k = 1, and for ratings.
    confidence
        g.
    regularization, frequency_offset, regularization_exponent
        λ, offset and ν.
    ratings
        Whether the weights of a history are the values that the model fits.
    every_cell
        Whether G holds x_k x_kᵀ of every item, those of the history among them, so that c_k = 0.
    loss
        What is minimised.
    like_above
        For the logistic loss: a rating above this is a 1, any other a 0. None where the ratings are labels.
    non_negative
        Whether v ≥ 0 is demanded: the system then holds for the components that are not 0.
    """

    item_factors: NDArray[np.float32]
    has_bias: bool
    gram: NDArray[np.float64]
    constant: NDArray[np.float64]
    targets: NDArray[np.float32]
    offsets: NDArray[np.float32]
    alpha: float | None
    regularization: float
    frequency_offset: float
    regularization_exponent: float
    ratings: bool = False
    every_cell: bool = False
    loss: RatingLoss = "squared"
    like_above: float | None = None
    non_negative: bool = False
    confidence: Confidence = LINEAR

    def penalties(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return λ (|S| + offset)^ν for histories of so many items.  # (rows,)."""
        return frequency_penalties(
            counts,
            offset=self.frequency_offset,
            regularization=self.regularization,
            exponent=self.regularization_exponent,
        )

    def terms(self, histories: Rows) -> Terms:
        """Return what each entry of some histories adds, for the squared loss."""
        weights, targets = histories.weights.astype(np.float64), self.targets[histories.indices].astype(np.float64)
        ones = np.ones(len(weights))
        if self.ratings:
            return Terms(c=np.zeros(len(weights)) if self.every_cell else ones, f=ones, p=weights + targets)
        c = ones
        if self.alpha is not None:
            c = self.alpha * self.confidence.transformed(histories).astype(np.float64)
        return Terms(c=c, f=c * targets, p=ones)


FoldInProblem = RowSystem | NetworkProblem
"""What folds a user in."""
