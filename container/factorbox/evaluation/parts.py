"""A model beside its baseline over all that is held out, and over parts of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.evaluation.breakdowns import by_activity, by_popularity
from factorbox.evaluation.estimates import Estimate, Group
from factorbox.evaluation.intervals import Ratio, Sample, estimates
from factorbox.evaluation.judged import Judged
from factorbox.threads import Run


@dataclass(frozen=True, eq=False)
class Part:
    """Some users with some of their held-out pairs, and the metrics over these.

    Attributes
    ----------
    label
        As a table shows it.
    users
        int64, (users of the part,): which of the measured users they are.
    pairs
        Number of held-out pairs.
    model, baseline
        The metrics by name, over these users.
    """

    label: str
    users: NDArray[np.int64]
    pairs: int
    model: Mapping[str, Ratio]
    baseline: Mapping[str, Ratio]


def everything(model: Judged, baseline: Judged) -> Part:
    """Return all users with all pairs."""
    counts = model.relevant.counts
    return Part("", np.arange(len(counts)), int(counts.sum()), model.by_user(), baseline.by_user())


def activity_parts(whole: Part, *, model: Judged, trained: NDArray[np.int64]) -> list[Part]:
    """Part users by how many interactions they have in training, (users,); see `breakdowns.by_activity`."""
    return [
        Part(
            group.label,
            group.indices,
            int(model.relevant.counts[group.indices].sum()),
            _restricted(whole.model, group.indices),
            _restricted(whole.baseline, group.indices),
        )
        for group in by_activity(trained)
    ]


def popularity_parts(model: Judged, baseline: Judged, *, item_users: NDArray[np.int64]) -> list[Part]:
    """Part pairs by how many users have the item in training, (items,); see `breakdowns.by_popularity`.

    A group of items of which none is held out is left out.
    """
    relevant, parts = model.relevant, []
    for group in by_popularity(item_users):
        of_group = np.zeros(len(item_users), dtype=np.bool_)
        of_group[group.indices] = True
        which = of_group[relevant.item_indices]
        if which.any():
            users = np.unique(relevant.owners[which])
            metrics, beside = (_restricted(side.by_pair(which), users) for side in (model, baseline))
            parts.append(Part(group.label, users, int(which.sum()), metrics, beside))
    return parts


def measured(
    parts: Sequence[Part],
    *,
    n_users: int,
    random_state: int,
    run: Run,
) -> list[Group]:
    """Return the metrics of each part with their intervals; see `factorbox.evaluation.intervals.estimates`."""
    samples = [Sample(part.users, [*part.model.values(), *part.baseline.values()]) for part in parts]
    found = estimates(samples, n_users=n_users, random_state=random_state, run=run)
    return [
        Group(
            label=part.label,
            users=len(part.users),
            pairs=part.pairs,
            metrics=_present(part.model, values[: len(part.model)]),
            baseline=_present(part.baseline, values[len(part.model) :]),
        )
        for part, values in zip(parts, found, strict=True)
    ]


def _restricted(ratios: Mapping[str, Ratio], users: NDArray[np.int64]) -> dict[str, Ratio]:
    return {name: ratio.over(users) for name, ratio in ratios.items()}


def _present(names: Iterable[str], values: Sequence[Estimate | None]) -> dict[str, Estimate]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
