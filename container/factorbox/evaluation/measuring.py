"""How good a model is on held-out pairs: every metric with its interval, beside a baseline, in all and by groups.

A ranking is the best k of the items that may be recommended and that the user does not have in training. Relevant are
the user's held-out items, whatever their weights. Held-out pairs that are in training all the same are left out, and so
are those of items that may not be recommended.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs, drawn_users
from factorbox.evaluation import parts
from factorbox.evaluation.auc import shares_above
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.held_out import HeldOutRankings, HeldOutRatings, RatedBy, Scorer
from factorbox.evaluation.judged import Judged
from factorbox.evaluation.mean_ratings import MeanRatings
from factorbox.evaluation.metrics import RATING_METRICS, ranking_metrics_at
from factorbox.evaluation.popularity import Popularity
from factorbox.evaluation.ranking import coverage
from factorbox.recommend.lists import ranges
from factorbox.recommend.network_ranking import candidates_of
from factorbox.threads import Run, Threads

MOST_NETWORK_USERS = 500
"""Users whose AUC is worked out where the scores come from a network, which has to run for every item."""


def evaluate(
    scorer: Scorer,
    *,
    trained: Rows,
    held_out: Pairs,
    users: NDArray[np.int64],
    n_items: int,
    k: int = 10,
    rated: RatedBy | None,
    available: NDArray[np.bool_] | None = None,
    random_state: int,
    threads: int,
) -> Evaluation:
    """Measure a model.

    Parameters
    ----------
    scorer
        The model.
    trained
        What it was trained on, in rows by user: what its rankings leave out, and what the baselines know.
    held_out
        Held-out pairs, sorted by user and then by item.
    users
        int64: users to measure; those without held-out pairs are left out, and pairs of others do not matter.
    n_items
        Number of items.
    k
        Length of the rankings.
    rated
        How the model predicts ratings; None for a model that only ranks, and there are no `rmse` and `mae` then.
    available
        bool, (items,): what may be recommended at all; None for all. Held-out pairs of other items are left out.
    random_state
        Seed of the intervals, and of the users whose AUC is worked out for a network.
    threads
        How many work; they change nothing in the result.

    Raises
    ------
    UserError
        Where no user has a held-out pair.
    """
    rankings = HeldOutRankings(trained, held_out, users=users, k=k, available=available, threads=threads)
    popularity = Popularity.of(trained.indices, n_items=n_items, available=available)
    errors, baseline_errors = _errors(scorer, rankings.pairs, trained=trained, n_items=n_items, rated=rated)
    with Threads(threads) as pool:
        shares, baseline_shares = _shares(scorer, popularity, rankings, random_state=random_state, run=pool.map)
        model = Judged(rankings.top_items(scorer), rankings.relevant, shares, errors)
        baseline = Judged(popularity.top_items(rankings.seen, k=k), rankings.relevant, baseline_shares, baseline_errors)
        whole = parts.everything(model, baseline)
        by_activity = parts.activity_parts(whole, model=model, trained=np.diff(rankings.seen.indptr))
        by_popularity = parts.popularity_parts(model, baseline, item_users=popularity.users)
        all_of_it, *groups = parts.measured(
            [whole, *by_activity, *by_popularity],
            n_users=len(rankings.users),
            random_state=random_state,
            run=pool.map,
        )
    n_recommendable = int(popularity.available.sum())
    return Evaluation(
        k=k,
        users=all_of_it.users,
        pairs=all_of_it.pairs,
        metrics=_with_coverage(all_of_it.metrics, model, n_recommendable=n_recommendable),
        baseline=_with_coverage(all_of_it.baseline, baseline, n_recommendable=n_recommendable),
        by_activity=groups[: len(by_activity)],
        by_popularity=groups[len(by_activity) :],
        auc_users=int(whole.model["auc"].denominators.sum()),
    )


def _shares(
    scorer: Scorer, popularity: Popularity, rankings: HeldOutRankings, *, random_state: int, run: Run
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a_i of each held-out pair by the model and by popularity, of the same users.  # both (pairs,)."""
    users = np.arange(len(rankings.users))
    if scorer.layers:
        users = drawn_users(users, most=MOST_NETWORK_USERS, rng=np.random.default_rng(random_state))
    relevant, seen = rankings.relevant.taken(users), rankings.seen.taken(users)
    by_model = shares_above(
        candidates_of(
            _aligned(scorer.item_factors), item_biases=scorer.item_biases, layers=scorer.layers, available=None
        ),
        user_factors=_aligned(scorer.user_factors[rankings.users[users]]),
        seen=seen,
        relevant=relevant,
        available=rankings.available,
        run=run,
    )
    shares = np.full((2, len(rankings.pairs)), np.nan)
    shares[:, ranges(rankings.relevant.indptr[users], relevant.counts)] = (
        by_model,
        popularity.shares_above(seen=seen, relevant=relevant),
    )
    return shares[0], shares[1]


def _aligned(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy into memory that begins at a multiple of 64 bytes: MKL promises the same bits in every run for that only."""
    return torch.from_numpy(np.array(factors)).clone().numpy()


def _errors(
    scorer: Scorer, pairs: Pairs, *, trained: Rows, n_items: int, rated: RatedBy | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]:
    """Return the errors of the ratings that the model and the means predict.  # both (pairs,)."""
    if rated is None:
        return None, None
    ratings = HeldOutRatings(pairs, rated=rated)
    fitted = Rows(trained.indptr, trained.indices, rated.observed(trained.weights))
    means = MeanRatings.of(fitted, n_items=n_items).predicted(pairs.user_indices, pairs.item_indices)
    if rated.link == "sigmoid":
        # A sum of biases may leave [0, 1]; a probability does not.
        means = np.clip(means, 0, 1)
    return ratings.predicted(scorer) - ratings.observed, means - ratings.observed


def _with_coverage(estimates: Mapping[str, Estimate], side: Judged, *, n_recommendable: int) -> dict[str, Estimate]:
    """Add the coverage, which has no interval: it is no mean over users. The order is that of all metrics."""
    k = side.top_items.shape[1]
    covered = Estimate(coverage(side.top_items, n_recommendable=n_recommendable))
    known = {**estimates, f"coverage@{k}": covered}
    return {m.name: known[m.name] for m in (*ranking_metrics_at(k), *RATING_METRICS) if m.name in known}
