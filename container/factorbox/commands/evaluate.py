"""How good a saved model is on data of its own: those that it was not trained on, read as its training data were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.commands.wording import told_of_options
from factorbox.data.filters import FilterOptions
from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs, outside_pairs
from factorbox.data.reading import ReadOptions, read_interactions
from factorbox.data.splits import Pairs, drawn_users
from factorbox.errors import UserError
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.held_out import rated_by
from factorbox.evaluation.measuring import evaluate
from factorbox.evaluation.metrics import RATING_METRICS, K, ranking_metrics_at
from factorbox.evaluation.records import as_record
from factorbox.options import options_of
from factorbox.recommender import Recommender

MOST_USERS = 5_000
"""Users who are measured where nothing else is asked for, as in training."""

_SEED = 42


@dataclass(frozen=True, eq=False)
class Evaluated:
    """How good a model is on some data, and what of the data could be used.

    Attributes
    ----------
    evaluation
        The metrics.
    outside
        The pairs of the data that the model can be measured by, and how many others there are.
    users_with_pairs
        Users who have such pairs; where there are more than were asked for, some of them were drawn.
    dropped_below_min_rating
        Rows that are below the `min_rating` that the data were read with.
    held_out_in_training
        Those of the measured pairs that the training of the model held out, and kept: it has not learned them, but may
        have been chosen by them.
    """

    evaluation: Evaluation
    outside: OutsidePairs
    users_with_pairs: int
    dropped_below_min_rating: int
    held_out_in_training: int = 0

    @property
    def summary(self) -> str:
        """What was measured, and what was not, in a few lines."""
        outside, users = self.outside, self.evaluation.users
        drawn = f", drawn from {self.users_with_pairs:,}" if users < self.users_with_pairs else ""
        sentences = [f"{_counted(self.evaluation.pairs, 'interaction')} of {_counted(users, 'user')}{drawn}."]
        if held_out := self.held_out_in_training:
            everything = "It" if held_out == 1 else "All of them"
            of_them = everything if held_out == self.evaluation.pairs else f"{held_out:,} of them"
            sentences.append(f"{of_them} {'was' if held_out == 1 else 'were'} held out in the training of the model.")
        if outside.pairs_of_unknown:
            unknown = ((outside.unknown_users, "user"), (outside.unknown_items, "item"))
            whom = " and ".join(_counted(number, noun) for number, noun in unknown if number)
            sentences.append(
                f"Left out: {_counted(outside.pairs_of_unknown, 'interaction')} of {whom} that the model does not know."
            )
        if outside.pairs_in_training:
            sentences.append(
                f"Left out: {_counted(outside.pairs_in_training, 'interaction')} that the model was trained on."
            )
        if self.dropped_below_min_rating:
            sentences.append(f"Left out: {_counted(self.dropped_below_min_rating, 'row')} below min_rating.")
        return "\n".join(sentences)

    def table(self) -> str:
        """Return the metrics as a table of text, each with its interval, beside its baseline."""
        head = ("metric", "model", "95% interval", "beside", "", "95% interval")
        rows = [head]
        for metric in (*ranking_metrics_at(self.evaluation.k), *RATING_METRICS):
            if metric.name in self.evaluation.metrics:
                model, baseline = self.evaluation.metrics[metric.name], self.evaluation.baseline[metric.name]
                beside = metric.baseline.replace("_", " ")
                rows.append((metric.name, *_texts(model), beside, *_texts(baseline)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def record(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        return {
            **as_record(self.evaluation),
            "users_with_pairs": self.users_with_pairs,
            "held_out_in_training": self.held_out_in_training,
            "left_out": {
                "unknown_users": self.outside.unknown_users,
                "unknown_items": self.outside.unknown_items,
                "pairs_of_unknown": self.outside.pairs_of_unknown,
                "pairs_in_training": self.outside.pairs_in_training,
                "rows_below_min_rating": self.dropped_below_min_rating,
            },
        }


def evaluate_on(
    model: Recommender,
    data: Path,
    *,
    reading: Mapping[str, Any] | None = None,
    k: int = K,
    most_users: int = MOST_USERS,
    threads: int,
) -> Evaluated:
    """Measure a model on interactions that it was not trained on.

    Parameters
    ----------
    data
        A CSV or Parquet file, or a folder of such, read as the training data were: by the columns, the delimiter and
        the `min_rating` of the model's hyperparameters.
    reading
        Fields of `ReadOptions` that are other for these data.
    k
        Length of the rankings.
    most_users
        At most so many users are measured, drawn by the model's own seed.
    threads
        For reading and ranking; the numbers do not depend on them.

    Raises
    ------
    UserError
        Where the data cannot be read, or the model cannot be measured by them, or k is more than its items.
    """
    require_k(k, model=model)
    traits = model.answering.traits
    with told_of_options(given := reading or {}):
        read, summary = read_interactions(
            data, options=_read_options(model, given), feedback=traits.feedback, threads=threads
        )
    outside = outside_pairs(read, user_ids=model.user_ids, item_ids=model.item_ids, trained=model.history)
    _require_pairs(outside, read, model)
    users = np.unique(outside.pairs.user_indices[model.available[outside.pairs.item_indices]])
    if not len(users):
        raise UserError(f"none of the items of {data} that the model knows is available: it recommends none of them")
    users = users[model.history.counts[users] > 0]
    if not len(users):
        raise UserError(
            f"the model has no history of any user of {data}: it can only be measured for users who have one"
        )
    kept = model.manifest["hyperparameters"]
    seed = int(kept.get("random_state", _SEED))
    drawn = drawn_users(users, most=most_users, rng=np.random.default_rng(seed))
    evaluation = evaluate(
        model.artifact,
        trained=model.history,
        held_out=outside.pairs,
        users=drawn,
        n_items=len(model.item_ids),
        k=k,
        rated=rated_by(traits.feedback, traits.link, hyperparameters=kept),
        available=model.available,
        random_state=seed,
        threads=threads,
    )
    return Evaluated(
        evaluation,
        outside,
        len(users),
        summary.dropped_below_min_rating,
        held_out_in_training=_held_out_in_training(model, outside.pairs, users=drawn),
    )


def require_k(k: int, *, model: Recommender) -> None:
    """Refuse rankings that are longer than any can be; the usual length goes with every model."""
    n_items = len(model.item_ids)
    if k > max(n_items, K):
        raise UserError(f"--k {k} is more than the {_counted(n_items, 'item')} of the model: give a smaller one")


def _held_out_in_training(model: Recommender, pairs: Pairs, *, users: NDArray[np.int64]) -> int:
    """Count the measured pairs that the training of a model held out of what it learned, and kept."""
    held_out = model.artifact.held_out
    if held_out is None:
        return 0
    measured = np.isin(pairs.user_indices, users) & model.available[pairs.item_indices]
    return int(np.count_nonzero(held_out.holds(pairs.user_indices[measured], pairs.item_indices[measured])))


def _read_options(model: Recommender, given: Mapping[str, Any]) -> ReadOptions:
    """Return how the training data of a model were read, but for what is given."""
    kept = model.manifest["hyperparameters"]
    options, filters = (
        {name: kept[name] for name in options_of(config) if name in kept} for config in (ReadOptions, FilterOptions)
    )
    read_by = FilterOptions(**filters).for_reading(ReadOptions(**options))
    return ReadOptions(**{name: getattr(read_by, name) for name in options_of(ReadOptions)} | dict(given))


def _require_pairs(outside: OutsidePairs, read: Interactions, model: Recommender) -> None:
    """Refuse data by which nothing can be measured, and say why that may be."""
    if len(outside.pairs):
        return
    if outside.pairs_in_training:
        raise UserError(
            f"the model was trained on all {_counted(outside.pairs_in_training, 'interaction')} of the data whose user"
            " and item it knows, and what it was trained on tells nothing: give data that it has not seen"
        )
    lacking = [
        f"no {name} id of the data, such as {ids[0]!r}, is known to the model, which has such as {own[0]!r}"
        for name, ids, own, unknown in (
            ("user", read.user_ids, model.user_ids, outside.unknown_users),
            ("item", read.item_ids, model.item_ids, outside.unknown_items),
        )
        if unknown == len(ids)
    ] or ["no interaction of the data is of a user and an item which the model both knows"]
    raise UserError(
        f"{' and '.join(lacking)}: ids are compared as text; give data about the users and items of the model"
    )


def _texts(estimate: Estimate) -> tuple[str, str]:
    low, high = estimate.low, estimate.high
    return f"{estimate.value:.4f}", "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
