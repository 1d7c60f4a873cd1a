"""What an evaluation gives: values with their intervals, beside those of a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its 95% bootstrap confidence interval.

    Attributes
    ----------
    value
        The metric.
    low, high
        The interval; None for a metric that is no mean over users, such as coverage.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """A part of the users, or of the held-out pairs, that is measured by itself.

    Attributes
    ----------
    label
        As a table shows it: `5 to 20 interactions`.
    users, pairs
        How many users and held-out pairs it has.
    metrics, baseline
        As in `Evaluation`.
    """

    label: str
    users: int
    pairs: int
    metrics: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on held-out pairs.

    Attributes
    ----------
    k
        Length of the rankings.
    users
        Users over whom the ranking metrics are means.
    pairs
        Held-out pairs of those users.
    metrics
        The model's value of each `factorbox.evaluation.metrics.Metric` by its name, as in `ndcg@10`.
        `auc` is not among them where no user has one; see `factorbox.evaluation.auc`.
    baseline
        That of the metric's baseline, by the same names.
    by_activity
        Groups of users by the number of their training interactions, fewest first.
    by_popularity
        Groups of held-out pairs by the number of users who have the item in training, most popular first.
    auc_users
        Users over whom the AUC is a mean: those who have one, a sample of them where it is dear.
    """

    k: int
    users: int
    pairs: int
    metrics: Mapping[str, Estimate]
    baseline: Mapping[str, Estimate]
    by_activity: Sequence[Group] = field(default=())
    by_popularity: Sequence[Group] = field(default=())
    auc_users: int = 0
