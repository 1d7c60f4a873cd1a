"""How well a model does, epoch by epoch, on interactions that it is not trained on.

Models of ratings are measured by their loss and by the errors of what they predict; rankings, which are all that
implicit models give, by nDCG. So is a factorization of every cell: what is held out is a zero of its matrix, which it
learns to reproduce, and only the order of the unseen items says what else it has learned.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.splits import drawn_users
from factorbox.evaluation.held_out import HeldOutRankings, HeldOutRatings, RatedBy, rated_by
from factorbox.evaluation.metrics import LOSS, K
from factorbox.evaluation.rating import rating_metrics, shown_ratings
from factorbox.models.base import Algorithm, Epoch, Factors, Link
from factorbox.training.hold_out import HoldOut

# Scores that an epoch's measuring may take for each pair that is trained on: less than a tenth of the time of an epoch
# (measured: 5 ns a score, and 50 ns a pair of `nmf`, 110 of `als`, 500 and more of all others); but at least so many
# users, or the curve is all noise.
_SCORES_PER_PAIR = 0.75
_FEWEST_USERS = 200
_CLEARLY = 0.01


class Measure(Protocol):
    """What a model is measured by."""

    objective: str
    """The metric that says which of two epochs is better."""
    larger_is_better: bool
    n_users: int
    """Users whose held-out pairs it is about."""

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        ...


def rated_by_config(algorithm: Algorithm, config: Any) -> RatedBy | None:
    """Return how a model of this configuration predicts ratings; None for one that only ranks."""
    return rated_by(algorithm.feedback(config), algorithm.link(config), hyperparameters=vars(config))


def measure_of(algorithm: Algorithm, config: Any, *, hold_out: HoldOut, random_state: int, threads: int) -> Measure:
    """Choose what the epochs of a model are measured by.

    Parameters
    ----------
    hold_out
        With at least one user to measure.
    random_state
        Decides which users are ranked for, where there are many.
    """
    rated = rated_by_config(algorithm, config)
    if rated is None:
        return RankingMeasure(hold_out, random_state=random_state, threads=threads)
    return RatingMeasure(hold_out, rated=rated)


class RatingMeasure:
    """Loss, RMSE and MAE of held-out ratings.

    `validation:loss` is what training minimises, without the penalty and averaged over the pairs: (x̂ − r)² for the
    identity link, −r log σ(x̂) − (1 − r) log(1 − σ(x̂)) for σ, exp(x̂) − r x̂ for exp. `validation:rmse` and
    `validation:mae` compare the scores of answers with ratings, for σ with the labels 0 and 1.
    """

    objective = LOSS
    larger_is_better = False

    def __init__(self, hold_out: HoldOut, *, rated: RatedBy) -> None:
        self.n_users = len(hold_out.users)
        self._ratings = HeldOutRatings(hold_out.measured, rated=rated)
        self._link = rated.link

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        x, observed = self._ratings.x(factors), self._ratings.observed
        metrics = rating_metrics(shown_ratings(x, link=self._link), observed)
        return {
            LOSS: float(_losses(x, observed, link=self._link).mean()),
            "validation:rmse": metrics.rmse,
            "validation:mae": metrics.mae,
        }


class RankingMeasure:
    """nDCG and recall at 10 of the held-out items among those that a user does not have in training.

    They are means over some of the users who are measured in the end, drawn once: so many that it takes about a tenth
    of the time of the training.
    """

    objective = f"validation:ndcg@{K}"
    larger_is_better = True

    def __init__(self, hold_out: HoldOut, *, random_state: int, threads: int) -> None:
        training = hold_out.training
        most = max(_FEWEST_USERS, int(_SCORES_PER_PAIR * training.n_pairs / training.n_items))
        users = drawn_users(hold_out.users, most=most, rng=np.random.default_rng(random_state))
        self.n_users = len(users)
        self._rankings = HeldOutRankings(
            training.by_user(), hold_out.held_out, users=users, k=K, available=hold_out.available, threads=threads
        )

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        metrics = self._rankings.metrics(factors)
        return {self.objective: metrics.ndcg, f"validation:recall@{K}": metrics.recall}


class Progress:
    """What was measured of each epoch, and whether it is worth going on.

    Parameters
    ----------
    measure
        How each epoch is measured.
    patience
        Epochs without a better one after which it is over; None for never. With it, `best` is kept.
    """

    def __init__(self, measure: Measure, *, patience: int | None) -> None:
        self._measure, self._patience = measure, patience
        self.n_users = measure.n_users
        self._measured: list[Mapping[str, float]] = []
        self.seconds = 0.0
        """Wall time that measuring has taken."""
        self.best_epoch = 0
        """The first of the best epochs, counted from 1; 0 before there is one."""
        self.best: Factors | None = None
        """A copy of the model after that epoch; None without `patience`."""

    @property
    def epochs(self) -> int:
        """Epochs that were measured."""
        return len(self._measured)

    def add(self, epoch: Epoch) -> Mapping[str, float]:
        """Measure the model after one more epoch."""
        started = time.perf_counter()
        factors = epoch.snapshot()
        metrics = self._measure(factors)
        self._measured.append(metrics)
        if not self.best_epoch or self._value(self.epochs) > self._value(self.best_epoch):
            self.best_epoch = self.epochs
            self.best = None if self._patience is None else factors.copy()
        self.seconds += time.perf_counter() - started
        return metrics

    @property
    def is_over(self) -> bool:
        """Whether `patience` epochs in a row were no better than the best before them."""
        return self._patience is not None and self.epochs - self.best_epoch >= self._patience

    @property
    def overfits(self) -> bool:
        """Whether the last epoch is clearly worse than the best, and not just by chance."""
        best, last = self._value(self.best_epoch), self._value(self.epochs)
        return best - last > _CLEARLY * abs(best)

    def objective_of(self, epoch: int) -> Mapping[str, float]:
        """Return the objective of an epoch by its name."""
        return {self._measure.objective: self._measured[epoch - 1][self._measure.objective]}

    def _value(self, epoch: int) -> float:
        """Return the objective of an epoch, so that more is better."""
        (value,) = self.objective_of(epoch).values()
        return value if self._measure.larger_is_better else -value


def _losses(x: NDArray[np.float64], ratings: NDArray[np.float64], *, link: Link) -> NDArray[np.float64]:
    """Return the loss of each pair.  # (pairs,)."""
    if link == "sigmoid":
        return np.logaddexp(0, x) - ratings * x
    if link == "exp":
        return shown_ratings(x, link=link) - ratings * x
    return np.square(x - ratings)
