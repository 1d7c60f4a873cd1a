"""How well a model does, epoch by epoch, on pairs that it is not trained on.

Models of ratings are measured by their loss and by the errors of what they predict; rankings, which are all that
implicit models give, by nDCG. So is a factorization of every cell: what is held out is a zero of its matrix, which it
learns to reproduce, and only the order of the unseen items says what else it has learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.splits import Split
from factorbox.errors import UserError
from factorbox.evaluation.ranking import Relevant, ranking_metrics, top_items_matrix
from factorbox.evaluation.rating import rating_metrics
from factorbox.models.base import Algorithm, Factors, Link
from factorbox.models.rating_losses import fitted_values
from factorbox.options import check_ranges, option
from factorbox.recommend.lists import Lists, taken
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.top_n import Ranked, scores_of_pairs, top_n
from factorbox.threads import Threads

_K = 10
_MOST_USERS = 2_000
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, kw_only=True)
class ValidationOptions:
    """Hyperparameters of the hold-out.

    Raises
    ------
    UserError
        For `patience` where nothing is held out.
    """

    validation: str = option(
        "none",
        "random holds pairs out and measures each epoch by them; then the model is trained anew on all pairs.",
        choices=("none", "random"),
    )
    validation_fraction: float = option(0.1, "Share of the pairs that is held out.", above=0, maximum=0.5)
    patience: int | None = option(
        None,
        "With validation: training stops after so many epochs without a better one, and the model is that of the best;"
        " where it is not given, all epochs are trained.",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.patience is not None and self.validation == "none":
            raise UserError(
                f"patience={self.patience} waits for a better epoch, and nothing is held out to tell by: set"
                " validation=random too, or leave patience out"
            )


class Measure(Protocol):
    """What a model is measured by."""

    objective: str
    """The metric that says which of two epochs is better."""
    larger_is_better: bool

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        ...


def measure_of(algorithm: Algorithm, config: Any, *, split: Split, random_state: int, threads: int) -> Measure:
    """Choose what a model is measured by.

    Parameters
    ----------
    split
        With at least one pair held out.
    random_state
        Decides which users are ranked for, where there are many.
    """
    if algorithm.feedback(config).kind == "implicit" or not getattr(config, "observed_only", True):
        return RankingMeasure(split, random_state=random_state, threads=threads)
    return RatingMeasure(split, link=algorithm.link(config), like_above=getattr(config, "like_above", None))


class RatingMeasure:
    """Loss, RMSE and MAE of held-out ratings.

    `validation:loss` is what training minimises, without the penalty and averaged over the pairs: (x̂ − r)² for the
    identity link, −r log σ(x̂) − (1 − r) log(1 − σ(x̂)) for σ, exp(x̂) − r x̂ for exp. `validation:rmse` and
    `validation:mae` compare the scores of answers with ratings, for σ with the labels 0 and 1.

    Parameters
    ----------
    link
        What turns x̂ into a score.
    like_above
        For σ: a rating above this is a 1, any other a 0. None where ratings are labels.
    """

    objective = "validation:loss"
    larger_is_better = False

    def __init__(self, split: Split, *, link: Link, like_above: float | None) -> None:
        self._pairs, self._link = split.held_out, link
        loss = "logistic" if link == "sigmoid" else "squared"
        self._ratings = fitted_values(split.held_out.weights, loss=loss, like_above=like_above).astype(np.float64)

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        x = scores_of_pairs(
            candidates_of(factors.item_factors, item_biases=factors.item_biases, layers=factors.layers),
            user_factors=factors.user_factors,
            user_biases=factors.user_biases + np.float32(factors.global_mean),
            rows=self._pairs.user_indices,
            item_indices=self._pairs.item_indices,
        ).astype(np.float64)
        scores, losses = _scores_and_losses(x, self._ratings, link=self._link)
        metrics = rating_metrics(scores, self._ratings)
        return {
            "validation:loss": float(losses.mean()),
            "validation:rmse": metrics.rmse,
            "validation:mae": metrics.mae,
        }


class RankingMeasure:
    """nDCG at 10 of the held-out items among those that a user does not have in training.

    It is a mean over the users with held-out items, at most 2,000 of them, drawn once.
    """

    objective = f"validation:ndcg@{_K}"
    larger_is_better = True

    def __init__(self, split: Split, *, random_state: int, threads: int) -> None:
        users = np.unique(split.held_out.user_indices)
        if len(users) > _MOST_USERS:
            users = np.sort(np.random.default_rng(random_state).choice(users, _MOST_USERS, replace=False))
        self._users, self._threads = users, threads
        seen = taken(split.training.by_user(), users)
        self._seen = Lists(seen.indptr, seen.indices)
        self._relevant = Relevant.from_pairs(
            split.held_out.user_indices,
            split.held_out.item_indices.astype(np.int64),
            n_users=split.training.n_users,
        )

    def __call__(self, factors: Factors) -> dict[str, float]:
        """Return the metrics of a model by name."""
        wanted = Ranked(
            factors.user_factors[self._users],
            factors.user_biases[self._users] + np.float32(factors.global_mean),
            np.full(len(self._users), _K),
        )
        candidates = candidates_of(factors.item_factors, item_biases=factors.item_biases, layers=factors.layers)
        with Threads(self._threads) as threads:
            ranking = top_n(candidates, wanted, excluded=self._seen, run=threads.map)
        metrics = ranking_metrics(
            top_items_matrix(ranking.indptr, ranking.item_indices, k=_K),
            user_indices=self._users,
            relevant=self._relevant,
            k=_K,
        )
        return {self.objective: metrics.ndcg}


class Progress:
    """What was measured of each epoch, and whether it is worth going on.

    Parameters
    ----------
    measure
        How each epoch is measured.
    patience
        Epochs without a better one after which it is over; None for never.
    """

    def __init__(self, measure: Measure, *, patience: int | None) -> None:
        self._measure, self._patience = measure, patience
        self._measured: list[Mapping[str, float]] = []
        self.best_epoch = 0
        """The first of the best epochs, counted from 1; 0 before there is one."""

    @property
    def epochs(self) -> int:
        """Epochs that were measured."""
        return len(self._measured)

    def add(self, factors: Factors) -> Mapping[str, float]:
        """Measure the model after one more epoch."""
        metrics = self._measure(factors)
        self._measured.append(metrics)
        if not self.best_epoch or self._value(self.epochs) > self._value(self.best_epoch):
            self.best_epoch = self.epochs
        return metrics

    @property
    def is_over(self) -> bool:
        """Whether `patience` epochs in a row were no better than the best before them."""
        return self._patience is not None and self.epochs - self.best_epoch >= self._patience

    def objective_of(self, epoch: int) -> Mapping[str, float]:
        """Return the objective of an epoch by its name."""
        return {self._measure.objective: self._measured[epoch - 1][self._measure.objective]}

    def of_model(self, epochs: int) -> dict[str, float]:
        """Return the metrics of a model of so many epochs, and `validation:epoch`, the epoch that they are of.

        That is the last one that was measured, where the model has more.
        """
        epoch = min(epochs, self.epochs)
        return {**self._measured[epoch - 1], "validation:epoch": epoch}

    def _value(self, epoch: int) -> float:
        """Return the objective of an epoch, so that more is better."""
        (value,) = self.objective_of(epoch).values()
        return value if self._measure.larger_is_better else -value


def _scores_and_losses(
    x: NDArray[np.float64], ratings: NDArray[np.float64], *, link: Link
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return link(x̂) and the loss of each pair.  # both (pairs,)."""
    if link == "sigmoid":
        return np.exp(-np.logaddexp(0, -x)), np.logaddexp(0, x) - ratings * x
    if link == "exp":
        # As answers do it: a count beyond float32 is the largest float32.
        scores = np.exp(np.minimum(x, np.log(_LARGEST)))
        return scores, scores - ratings * x
    return x, np.square(x - ratings)
