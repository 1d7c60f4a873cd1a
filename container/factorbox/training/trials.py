"""Short fits on a sample of the users that tell whether the rule's λ is large enough (`factorbox.models.als_config`).

What they may cost is counted in row updates, at most a quarter of those of the fit, and never by the clock: the same
data and seed give the same choice, whatever the number of threads. Of each sampled user some pairs are held out. The
rule's λ is the first to be tried; another has to be better by more than chance does, as the differences between the
users tell.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.contract.log_lines import line
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.splits import hold_out
from factorbox.errors import AlgorithmError
from factorbox.evaluation.held_out import HeldOutRankings
from factorbox.evaluation.metrics import K
from factorbox.evaluation.ranking import user_metrics
from factorbox.models.als import ALS
from factorbox.models.als_config import PENALTY_FACTORS, ALSConfig, with_penalty
from factorbox.models.base import Device, Epoch, Watch
from factorbox.recommend.lists import ranges, taken

_logger = logging.getLogger(__name__)

SHARE = 0.25
"""Row updates of all trials, at most, over those of the fit."""

EPOCHS = 3
"""Epochs of a trial: the order of the candidates is that of whole fits by then (measured)."""

CHOICE = re.compile(r"(?:^|\s)times_rule=(\S+);.*\sshare_of_fit=(\S+);")
"""Finds in the log what λ was chosen, over the rule's, and which share of the fit's row updates that took."""

_HELD_OUT = 0.1
_FEWEST_USERS = 200
"""Users to measure by, below which a comparison would be all chance."""
_MOST_USERS = 5_000
_MOST_PAIRS = 1_000_000
"""Pairs of a sample; more tell nothing new."""
_STANDARD_ERRORS = 2.0


class _Ended(BaseException):
    """A trial has all that it needs of its fit, whose last half-sweep would cost more than the rest.

    Not an `Exception`, so that nothing between takes it for a failure.
    """


@dataclass(frozen=True)
class Trials:
    """How candidates are compared.

    Attributes
    ----------
    random_state
        Decides the sample, what is held out of it, and where the fits start.
    threads, device
        Where it runs.
    should_stop
        Whether the job was told to stop: then the best so far is chosen.
    """

    random_state: int
    threads: int
    device: Device
    should_stop: Callable[[], bool] = lambda: False

    def chosen(self, config: ALSConfig, *, asked: ALSConfig, interactions: Interactions) -> ALSConfig:
        """Return the configuration to train with, and log what was compared.

        Parameters
        ----------
        config
            The resolved configuration; the returned one may have another λ.
        asked
            The same before it was resolved: what is given there is not tried.
        interactions
            What is trained on; pairs that the job holds out are no part of it.
        """
        if asked.regularization is not None:
            return config
        sample = sampled(interactions, config=config, random_state=self.random_state)
        split = hold_out(
            sample, method="stratified", fraction=_HELD_OUT, most_users=_MOST_USERS, random_state=self.random_state
        )
        if len(split.users) < _FEWEST_USERS:
            _logger.info(
                "regularization by rule alone: of the users that short fits may take within their budget, %d can be"
                " measured by, and fewer than %d tell nothing",
                len(split.users),
                _FEWEST_USERS,
            )
            return config
        by_rule = ALS().resolved(replace(asked, epochs=EPOCHS), interactions=split.training)
        rankings = HeldOutRankings(
            split.training.by_user(), split.held_out, users=split.users, k=K, threads=self.threads
        )
        best, trials = 1.0, 0
        best_ndcg = np.zeros(0)
        for factor in (1.0, *PENALTY_FACTORS):
            if self.should_stop():
                break
            trials += 1
            candidate = with_penalty(by_rule, factor=factor)
            ndcg = self._ndcg(candidate, trained=split.training, rankings=rankings)
            if self.should_stop():
                break
            told = {"trial": trials, "regularization": candidate.regularization, f"trial_ndcg@{K}": float(ndcg.mean())}
            if trials == 1:
                _logger.info(line(**told))
                best_ndcg = ndcg
                continue
            better_by, standard_error = _difference(ndcg, best_ndcg)
            _logger.info(line(**told, better_by=better_by, standard_error=standard_error))
            if better_by <= _STANDARD_ERRORS * standard_error:
                break
            best, best_ndcg = factor, ndcg
        updates = trials * EPOCHS * _rows(split.training)
        chosen = with_penalty(config, factor=best)
        _logger.info(
            line(
                regularization=chosen.regularization,
                times_rule=best,
                trial_users=sample.n_users,
                trial_row_updates=updates,
                share_of_fit=updates / updates_of_fit(interactions, epochs=config.epochs),
            )
        )
        return chosen

    def _ndcg(self, config: ALSConfig, *, trained: Interactions, rankings: HeldOutRankings) -> NDArray[np.float64]:
        """Return what each user's ranking is worth after a short fit; zeros where that diverges.  # (users,)."""
        found = np.zeros(len(rankings.users))

        def on_epoch(epoch: Epoch) -> None:
            if epoch.number == EPOCHS or self.should_stop():
                users = np.arange(len(rankings.users))
                top_items = rankings.top_items(epoch.snapshot())
                found[:] = user_metrics(top_items, user_indices=users, relevant=rankings.relevant, k=K).ndcg
                raise _Ended

        try:
            ALS().fit(
                trained,
                config=config,
                random_state=self.random_state,
                threads=self.threads,
                device=self.device,
                watch=Watch(on_epoch=on_epoch),
            )
        except _Ended:
            return found
        except AlgorithmError as error:
            _logger.info("a trial failed: %s", error)
        return found


def sampled(interactions: Interactions, *, config: ALSConfig, random_state: int) -> Interactions:
    """Return the pairs of some users, so many that all trials take at most `SHARE` of the fit's row updates.

    The items keep their indices; those that nobody of the sample has take no row updates.
    """
    most_rows = SHARE * updates_of_fit(interactions, epochs=config.epochs) / ((1 + len(PENALTY_FACTORS)) * EPOCHS)
    counts = interactions.by_user().counts
    order = np.random.default_rng(random_state).permutation(np.flatnonzero(counts))
    order = order[: np.searchsorted(np.cumsum(counts[order]), _MOST_PAIRS, side="right")]
    items = interactions.item_indices[ranges(interactions.indptr[order], counts[order])]
    # The first user, in this order, of each item: what comes last in an assignment remains.
    first = np.full(interactions.n_items, len(order))
    first[items[::-1]] = np.repeat(np.arange(len(order)), counts[order])[::-1]
    rows = np.arange(1, len(order) + 1) + np.cumsum(np.bincount(first, minlength=len(order) + 1)[: len(order)])
    users = np.sort(order[: np.searchsorted(rows, most_rows, side="right")])
    rows_of_users = taken(interactions.by_user(), users)
    return Interactions(
        user_ids=Ids(interactions.user_ids.texts.take(pa.array(users))),
        item_ids=interactions.item_ids,
        indptr=rows_of_users.indptr,
        item_indices=rows_of_users.indices,
        weights=rows_of_users.weights,
    )


def updates_of_fit(interactions: Interactions, *, epochs: int) -> int:
    """Return the row updates of a fit: every row that has pairs once an epoch, and the users' once more."""
    return epochs * _rows(interactions) + int(np.count_nonzero(interactions.by_user().counts))


def _rows(interactions: Interactions) -> int:
    """Count the users and the items that have pairs."""
    with_pairs = np.zeros(interactions.n_items, dtype=np.bool_)
    with_pairs[interactions.item_indices] = True
    return int(np.count_nonzero(interactions.by_user().counts)) + int(np.count_nonzero(with_pairs))


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Return by how much the mean over the users is larger, and the standard error of that."""
    differences = one - other
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
