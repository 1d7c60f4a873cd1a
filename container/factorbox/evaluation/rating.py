"""How far predicted ratings are from those that were given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.errors import UserError
from factorbox.models.base import Link

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class RatingMetrics:
    """Errors over all held-out pairs, each pair counted once, whatever its user.

    Attributes
    ----------
    rmse
        √( Σ (r̂ − r)² / n ), in units of the ratings.
    mae
        Σ |r̂ − r| / n, in units of the ratings.
    pairs
        n.
    """

    rmse: float
    mae: float
    pairs: int


def rating_metrics(predicted: NDArray[np.floating], observed: NDArray[np.floating]) -> RatingMetrics:
    """Measure predicted ratings against those that were observed.

    Parameters
    ----------
    predicted
        (pairs,): r̂, the score of each pair as an answer shows it.
    observed
        (pairs,): r.

    Raises
    ------
    UserError
        Where there is no pair, the lengths differ, or a value is not finite. A pair that a model cannot predict has
        the score NaN, and leaving it out would compare models over different pairs: predict it by something else, or
        leave it out for every model.
    """
    if predicted.shape != observed.shape or predicted.ndim != 1:
        raise UserError(
            f"{predicted.shape} predictions and {observed.shape} ratings are no pairs: give two vectors of one length"
        )
    if not len(predicted):
        raise UserError("no pair to evaluate: hold out some ratings")
    for name, values in (("predictions", predicted), ("ratings", observed)):
        bad = len(values) - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise UserError(
                f"{bad} of {len(values)} {name} are not finite: a model has no score for users and items that it does"
                " not know; leave those pairs out, or predict them by a mean"
            )
    errors = predicted.astype(np.float64) - observed.astype(np.float64)
    return RatingMetrics(
        rmse=float(np.sqrt(np.mean(np.square(errors)))), mae=float(np.mean(np.abs(errors))), pairs=len(errors)
    )


def shown_ratings(x: NDArray[np.floating], *, link: Link) -> NDArray[np.float64]:
    """Return the link of x̂, the ratings that answers show, before they are rounded to float32.  # (pairs,).

    A count beyond float32 is the largest float32, as in answers.
    """
    exact: NDArray[np.float64] = x.astype(np.float64)
    if link == "sigmoid":
        exact = np.exp(-np.logaddexp(0, -exact))
    elif link == "exp":
        exact = np.exp(np.minimum(exact, np.log(_LARGEST)))
    return exact
