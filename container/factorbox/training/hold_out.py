"""Which pairs are held out of a job's data to measure its model by, and what becomes of them afterwards."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factorbox.contract.log_lines import line
from factorbox.data import splits
from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.options import check_ranges, option
from factorbox.training.unmeasured import Unmeasured

_logger = logging.getLogger(__name__)

Method = Literal["random", "stratified", "chronological", "last", "channel"]
"""How the held-out pairs were chosen; `channel`: they are a channel of their own."""

DEFAULT_METHOD: Method = "stratified"
DEFAULT_FRACTION = 0.1
FEWEST_BY_DEFAULT = 1_000
"""Pairs below which nothing is held out unless the job asks for it."""

_FEWEST = 100
"""Pairs below which nothing is held out in any case."""

_MANY_TIED = 0.1
"""Share of the users above which it is said that their last interactions are tied."""

_IN_WORDS = {
    "random": "a random {share:.3g}% of the interactions",
    "stratified": "a random {share:.3g}% of each user's interactions",
    "chronological": "the latest {share:.3g}% of the interactions",
    "last": "each user's last interaction",
    "channel": "the interactions of the validation channel",
}


@dataclass(frozen=True, kw_only=True)
class HoldOutOptions:
    """Hyperparameters of the hold-out.

    Raises
    ------
    UserError
        For hyperparameters that mean nothing with `validation=none`.
    """

    validation: str | None = option(
        None,
        "Which interactions are held out to measure the model by: random rows, stratified (a share of each user's),"
        " chronological (the latest), each user's last, or none. Where it is not given: those of the channel"
        f" validation (or testing), else {DEFAULT_METHOD}, and none below {FEWEST_BY_DEFAULT:,} interactions. Below"
        f" {_FEWEST}, none in any case.",
        choices=("random", "stratified", "chronological", "last", "none"),
    )
    validation_fraction: float = option(
        DEFAULT_FRACTION, "Share of the interactions, or of each user's, that is held out.", above=0, maximum=0.5
    )
    validation_users: int = option(
        5_000,
        "At most so many users are measured, drawn once; only their interactions are held out, but chronological holds"
        " out everybody's.",
        minimum=1,
    )
    patience: int | None = option(
        None,
        "Training stops after so many epochs without a better one on the held-out interactions, and the model is that"
        " of the best; where it is not given, all epochs are trained.",
        minimum=1,
    )
    refit: bool = option(
        True,
        "Whether training finishes on all interactions once the model is measured. false keeps the measured model: it"
        " has not learned from the held-out interactions, and answers leave them out as seen.",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.validation != "none":
            return
        if self.patience is not None:
            raise UserError(
                f"patience={self.patience} waits for a better epoch, and with validation=none nothing tells which is"
                " better: leave one of the two out"
            )
        if not self.refit:
            raise UserError(
                "refit=false keeps the model that was measured, and with validation=none none is: leave one of the two"
                " out"
            )

    @property
    def needs_times(self) -> bool:
        """Whether the hold-out depends on when things happened."""
        return self.validation in ("chronological", "last")

    @property
    def without_effect_on_a_channel(self) -> list[str]:
        """The hyperparameters given that only count where a part of the training data is held out."""
        changed = {
            f"validation_fraction={self.validation_fraction:g}": self.validation_fraction != DEFAULT_FRACTION,
            "refit=false": not self.refit,
        }
        return [given for given, is_changed in changed.items() if is_changed]


@dataclass(frozen=True, eq=False)
class HoldOut:
    """A job's data in two parts.

    Attributes
    ----------
    method
        How they were parted.
    training
        What the measured model is trained on.
    held_out
        What it is not trained on.
    users
        int64, (measured users,), ascending: those over whom metrics are means. Each has pairs in both parts.
    description
        What was held out, in words, for log, manifest and report.
    available
        bool, (items,): what may be recommended at all; None for all. Held-out pairs of other items are not measured.
    """

    method: Method
    training: Interactions
    held_out: Pairs
    users: NDArray[np.int64]
    description: str
    available: NDArray[np.bool_] | None = None

    @property
    def measured(self) -> Pairs:
        """Return the held-out pairs of the users who are measured, with items that may be recommended."""
        wanted, pairs = np.zeros(self.training.n_users, dtype=np.bool_), self.held_out
        wanted[self.users] = True
        chosen = wanted[pairs.user_indices]
        if self.available is not None:
            chosen &= self.available[pairs.item_indices]
        return Pairs(pairs.user_indices[chosen], pairs.item_indices[chosen], pairs.weights[chosen])

    @property
    def is_own_channel(self) -> bool:
        """Whether the held-out pairs are no part of the training data."""
        return self.method == "channel"


def hold_out(
    interactions: Interactions,
    *,
    options: HoldOutOptions,
    outside: OutsidePairs | None,
    available: NDArray[np.bool_] | None = None,
    random_state: int,
) -> HoldOut | str:
    """Hold pairs out as the job asks for it; where that tells nothing, return why in a sentence, and log it.

    Parameters
    ----------
    interactions
        All training data.
    outside
        The channel `validation`; None where there is none.
    available
        bool, (items,): what may be recommended at all; None for all.
    random_state
        Decides what is drawn.

    Raises
    ------
    UserError
        Where the hold-out depends on times and the data have none.
    """
    found = _held_out(interactions, options=options, outside=outside, random_state=random_state)
    if isinstance(found, HoldOut) and available is not None and not available.all():
        found = _recommendable(found, available)
    if isinstance(found, HoldOut):
        _logger.info(
            line(validation=found.method, held_out_pairs=len(found.held_out), validation_users=len(found.users))
        )
    elif options.validation == "none":
        _logger.info("nothing is measured: %s", found)
    else:
        _logger.warning("nothing is measured: %s", found)
    return found


def _recommendable(found: HoldOut, available: NDArray[np.bool_]) -> HoldOut | str:
    """Measure only by items that may be recommended, and the users who have held out some of them."""
    measured = replace(found, available=available).measured
    if not len(measured):
        return "no held-out interaction is with an item that is available"
    return replace(found, available=available, users=np.unique(measured.user_indices))


def _held_out(
    interactions: Interactions, *, options: HoldOutOptions, outside: OutsidePairs | None, random_state: int
) -> HoldOut | str:
    if outside is not None:
        for given in options.without_effect_on_a_channel:
            _logger.warning("%s has no effect: the validation channel takes nothing from the training data", given)
        return _of_channel(interactions, outside, most_users=options.validation_users, random_state=random_state)
    if options.validation == "none":
        return "validation=none holds nothing out"
    n_pairs = interactions.n_pairs
    if options.validation is None and n_pairs < FEWEST_BY_DEFAULT:
        return (
            f"there are {n_pairs:,} interactions, and below {FEWEST_BY_DEFAULT:,} nothing is held out unless the"
            f" hyperparameter validation asks for it"
        )
    method = splits.as_method(options.validation or DEFAULT_METHOD)
    if options.needs_times:
        splits.require_times(interactions, method=method)
    if n_pairs < _FEWEST:
        return f"there are {n_pairs:,} interactions, and below {_FEWEST} a few that are held out tell nothing"
    split = splits.hold_out(
        interactions,
        method=method,
        fraction=options.validation_fraction,
        most_users=options.validation_users,
        random_state=random_state,
    )
    if not len(split.users):
        return Unmeasured(
            interactions=interactions,
            method=method,
            fraction=options.validation_fraction,
            most_users=options.validation_users,
            random_state=random_state,
        ).reason()
    if split.tied_users > _MANY_TIED * len(split.users):
        _logger.warning(
            "the latest moment of %s of %s users has several interactions: which of them is the last was drawn; give"
            " finer times",
            f"{split.tied_users:,}",
            f"{len(split.users):,}",
        )
    return HoldOut(
        method=method,
        training=split.training,
        held_out=split.held_out,
        users=split.users,
        description=_IN_WORDS[method].format(share=100 * options.validation_fraction),
    )


def _of_channel(
    interactions: Interactions, outside: OutsidePairs, *, most_users: int, random_state: int
) -> HoldOut | str:
    counts = interactions.by_user().counts
    users = np.unique(outside.pairs.user_indices)
    users = users[counts[users] > 0]
    if not len(users):
        return (
            "no interaction of the validation channel is of a user and an item of the training data that are not"
            " together there already"
        )
    return HoldOut(
        method="channel",
        training=interactions,
        held_out=outside.pairs,
        users=splits.drawn_users(users, most=most_users, rng=np.random.default_rng(random_state)),
        description=_IN_WORDS["channel"],
    )
