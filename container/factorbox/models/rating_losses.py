"""The losses of ratings: what they take, and what a prediction x̂ is to be.

All three are negative log likelihoods of a generalized linear model, up to constants, with its canonical link: the
normal, the Bernoulli and the Poisson distribution (McCullagh and Nelder 1989, "Generalized Linear Models", chapter 2).
Their values and derivatives are in `factorbox.models.rating_slopes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.models.base import Link, listed_value
from factorbox.options import option

LINKS: Mapping[str, Link] = MappingProxyType({"squared": "identity", "logistic": "sigmoid", "poisson": "exp"})
"""What turns x̂ into the mean, for each loss by its name."""


def like_above_option() -> Any:
    """Declare the option `like_above`; see `rating_loss`."""
    return option(
        None,
        "With loss=logistic: a rating above this is a like, any other is none; where it is not given, ratings are"
        " labels: 1, and 0 or -1.",
    )


def rating_loss(loss: str, *, like_above: float | None) -> str:
    """Return a loss by its one name: `regression` is `squared`.

    Raises
    ------
    UserError
        Where `like_above` stands beside a loss without labels.
    """
    if like_above is not None and loss != "logistic":
        raise UserError(
            f"like_above={like_above:g} makes labels, and loss={loss} fits none: add loss=logistic or remove like_above"
        )
    return "squared" if loss == "regression" else loss


def fitted_values(ratings: NDArray[np.float32], *, loss: str, like_above: float | None) -> NDArray[np.float32]:
    """Return what x̂ is fitted to: the ratings, or their labels 0 and 1.  # (ratings,)."""
    if loss != "logistic":
        return ratings
    if like_above is None:
        return np.clip(ratings, np.float32(0), np.float32(1))
    # In float32, as the ratings are: 3.7 is not above like_above=3.7. A number beyond float32 is infinite there.
    with np.errstate(over="ignore"):
        return (ratings > np.float32(like_above)).astype(np.float32)


def global_mean(values: NDArray[np.float32], *, loss: str) -> float:
    """Return μ: the x̂ whose mean is the mean of the values.

    A mean that no x̂ has, such as that of labels that are all 1, is moved by half a rating.
    """
    mean, half = float(values.mean(dtype=np.float64)), 0.5 / len(values)
    if loss == "logistic":
        mean = min(max(mean, half), 1 - half)
        return math.log(mean / (1 - mean))
    return math.log(max(mean, half)) if loss == "poisson" else mean


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """What a model is trained to predict.

    For the squared loss that is (r − μ) / s with the ratings' standard deviation s, so that no option depends on their
    scale; for the others ratings, or labels, as they are.

    Attributes
    ----------
    values
        float32, (ratings,).
    mean
        μ.
    scale
        s; 1 for the other losses.
    loss_unit
        What a mean loss is multiplied by for the log: 2 s² makes a mean squared error, in units of the ratings, of
        half squares; 1 for the other losses.
    start
        What is added to what the parameters give before it is compared with the values: μ where they hold it.
    listed_value
        See `factorbox.models.base.listed_value`.
    """

    values: NDArray[np.float32]
    mean: float = 0.0
    scale: float = 1.0
    loss_unit: float = 1.0
    start: float = 0.0
    listed_value: float = 1.0

    @classmethod
    def of(cls, ratings: NDArray[np.float32], *, loss: str, like_above: float | None, has_mean: bool = True) -> Target:
        """Prepare ratings for a loss; without `has_mean`, μ is 0."""
        values = fitted_values(ratings, loss=loss, like_above=like_above)
        mean = global_mean(values, loss=loss) if has_mean else 0.0
        if loss == "squared":
            exact = values.astype(np.float64) - mean
            scale = float(np.sqrt(np.mean(np.square(exact)))) or 1.0
            return cls(
                values=(exact / scale).astype(np.float32),
                mean=mean,
                scale=scale,
                loss_unit=2 * scale**2,
                listed_value=listed_value(ratings),
            )
        above = None if loss == "poisson" else like_above or 0.0
        return cls(values=values, mean=mean, start=mean, listed_value=listed_value(ratings, above=above))


def check_ratings(interactions: Interactions, *, loss: str, like_above: float | None) -> None:
    """Refuse ratings that a loss cannot take: for labels the logistic one, for counts the Poisson one.

    Raises
    ------
    UserError
        Where ratings are no labels or no counts, or `like_above` leaves but one label.
    """
    ratings = interactions.weights
    if loss == "logistic" and like_above is None:
        remedy = "give like_above (with like_above=3 a rating above 3 is a like), or loss=squared"
        _refuse(interactions, ~np.isin(ratings, (-1, 0, 1)), f"loss=logistic fits labels -1, 0 and 1: {remedy}")
    elif loss == "logistic":
        likes = fitted_values(ratings, loss=loss, like_above=like_above) > 0
        lowest, highest = float(ratings.min()), float(ratings.max())
        if likes.all() or not likes.any():
            raise UserError(
                f"like_above={like_above:g} makes {'every' if likes.all() else 'no'} rating a like, since they lie"
                f" between {lowest:g} and {highest:g}: give a number from the lowest to below the highest"
            )
    elif loss == "poisson":
        _refuse(
            interactions, ratings < 0, "loss=poisson fits counts of at least 0: mend the rating, or give loss=squared"
        )


def _refuse(interactions: Interactions, bad: NDArray[np.bool_], why: str) -> None:
    """Raise for the first pair whose rating is bad."""
    if bad.any():
        pair = int(bad.argmax())
        user = int(np.searchsorted(interactions.indptr, pair, side="right")) - 1
        raise UserError(
            f"user {interactions.user_ids[user]!r} rates item"
            f" {interactions.item_ids[int(interactions.item_indices[pair])]!r} with"
            f" {float(interactions.weights[pair]):g}, and {why}"
        )
