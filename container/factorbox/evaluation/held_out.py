"""Held-out pairs that models are measured by, prepared once for many models of the same users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import Feedback
from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.evaluation.ranking import RankingMetrics, Relevant, ranking_metrics, top_items_matrix
from factorbox.evaluation.rating import RatingMetrics, rating_metrics, shown_ratings
from factorbox.models.base import Link
from factorbox.models.rating_losses import fitted_values
from factorbox.recommend.lists import Lists, starts_of, taken
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.top_n import Rankable, Ranked, scores_of_pairs, top_n
from factorbox.threads import Threads


class Scorer(Protocol):
    """What can be measured: a fitted model or a saved one; see `factorbox.models.base.Factors`."""

    @property
    def user_factors(self) -> NDArray[np.float32]:
        """float32, (users, d)."""
        ...

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """float32, (items, d)."""
        ...

    @property
    def user_biases(self) -> NDArray[np.float32]:
        """float32, (users,)."""
        ...

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """float32, (items,)."""
        ...

    @property
    def global_mean(self) -> float:
        """μ."""
        ...

    @property
    def layers(self) -> Mapping[str, NDArray[np.float32]]:
        """float32 weights of the network by name; empty for a dot product."""
        ...


@dataclass(frozen=True)
class RatedBy:
    """How a model of ratings predicts them.

    Attributes
    ----------
    link
        What turns x̂ into a rating. With `sigmoid`, ratings are labels and predictions their probabilities.
    like_above
        For `sigmoid`: a rating above this is a 1, any other a 0. None where ratings are labels already.
    """

    link: Link
    like_above: float | None = None

    def observed(self, ratings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what predictions are compared with: the ratings, or their labels 0 and 1."""
        loss = "logistic" if self.link == "sigmoid" else "squared"
        return fitted_values(ratings, loss=loss, like_above=self.like_above)


def rated_by(feedback: Feedback, link: Link, *, hyperparameters: Mapping[str, Any]) -> RatedBy | None:
    """Return how a model predicts ratings; None for one that only ranks.

    Such are implicit models, and a factorization of every cell: what is held out is a zero of its matrix, which it
    learns to reproduce.
    """
    if feedback.kind == "implicit" or not hyperparameters.get("observed_only", True):
        return None
    return RatedBy(link=link, like_above=hyperparameters.get("like_above"))


class HeldOutRankings:
    """Held-out items of some users, and how a model ranks for these.

    Parameters
    ----------
    trained
        What models were trained on, in rows by user.
    held_out
        Held-out pairs, of these users and of any others, which do not matter. Pairs that are in `trained` are left
        out, and so are those of items that are not `available`: no ranking can have them.
    users
        int64: users to rank for. Those without a held-out pair are left out.
    k
        Length of the rankings.
    available
        bool, (items,): what may be recommended at all; None for all.
    threads
        Threads that rank; they change nothing in the result.

    Attributes
    ----------
    users
        int64, ascending: those who are left.
    pairs
        Their held-out pairs.
    relevant
        The same; user u of it is `users[u]`.
    seen
        The items that each of them has in training.

    Raises
    ------
    UserError
        Where no user is left.
    """

    def __init__(
        self,
        trained: Rows,
        held_out: Pairs,
        *,
        users: NDArray[np.int64],
        k: int,
        available: NDArray[np.bool_] | None = None,
        threads: int,
    ) -> None:
        wanted = np.zeros(len(trained.counts), dtype=np.bool_)
        wanted[users] = True
        pairs = _chosen(held_out, wanted[held_out.user_indices])
        counted = ~trained.holds(pairs.user_indices, pairs.item_indices)
        if available is not None:
            counted &= available[pairs.item_indices]
        self.pairs = _chosen(pairs, counted)
        self.users, counts = np.unique(self.pairs.user_indices, return_counts=True)
        if not len(self.users):
            raise UserError(
                f"none of the {len(users):,} users to measure has a held-out interaction that is not in training too"
                " and whose item may be recommended: give interactions of users who are in training, with available"
                " items that they do not have there"
            )
        self.relevant = Relevant(starts_of(counts), self.pairs.item_indices)
        seen = taken(trained, self.users)
        self.seen = Lists(seen.indptr, seen.indices)
        self.k, self.available, self._threads = k, available, threads

    def top_items(self, scorer: Scorer) -> NDArray[np.int64]:
        """Return the best items of each user, as answers have them; `NO_ITEM` where fewer are left.  # (users, k)."""
        wanted = Ranked(
            scorer.user_factors[self.users],
            scorer.user_biases[self.users] + np.float32(scorer.global_mean),
            np.full(len(self.users), self.k),
        )
        with Threads(self._threads) as threads:
            ranking = top_n(items_of(scorer, self.available), wanted, excluded=self.seen, run=threads.map)
        return top_items_matrix(ranking.indptr, ranking.item_indices, k=self.k)

    def metrics(self, scorer: Scorer) -> RankingMetrics:
        """Return how good a model's rankings are."""
        everyone = np.arange(len(self.users))
        return ranking_metrics(self.top_items(scorer), user_indices=everyone, relevant=self.relevant, k=self.k)


class HeldOutRatings:
    """Held-out ratings, and what a model predicts for these.

    Parameters
    ----------
    pairs
        The held-out pairs.
    rated
        How the model predicts ratings.

    Attributes
    ----------
    observed
        float64, (pairs,): the ratings, or their labels.
    """

    def __init__(self, pairs: Pairs, *, rated: RatedBy) -> None:
        self._pairs, self._link = pairs, rated.link
        self.observed = rated.observed(pairs.weights).astype(np.float64)

    def x(self, scorer: Scorer) -> NDArray[np.float64]:
        """Return x̂ of each pair, before the link.  # (pairs,)."""
        return scores_of_pairs(
            items_of(scorer, None),
            user_factors=scorer.user_factors,
            user_biases=scorer.user_biases + np.float32(scorer.global_mean),
            rows=self._pairs.user_indices,
            item_indices=self._pairs.item_indices,
        ).astype(np.float64)

    def predicted(self, scorer: Scorer) -> NDArray[np.float64]:
        """Return the rating, or the probability, that a model predicts for each pair.  # (pairs,)."""
        return shown_ratings(self.x(scorer), link=self._link)

    def metrics(self, scorer: Scorer) -> RatingMetrics:
        """Return how far a model's ratings are from those observed."""
        return rating_metrics(self.predicted(scorer), self.observed)


def items_of(scorer: Scorer, available: NDArray[np.bool_] | None) -> Rankable:
    """Return the items of a model as what can be ranked."""
    return candidates_of(scorer.item_factors, item_biases=scorer.item_biases, layers=scorer.layers, available=available)


def _chosen(pairs: Pairs, which: NDArray[np.bool_]) -> Pairs:
    return Pairs(pairs.user_indices[which], pairs.item_indices[which], pairs.weights[which])
