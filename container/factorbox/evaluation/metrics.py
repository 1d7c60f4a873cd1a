"""Every metric that a job reports: its name, what it is, and which of two values is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ranking", "rating"]
"""What a metric judges: the items at the top of a ranking, or predicted ratings."""

Part = Literal["validation", "most_popular", "mean_ratings"]
"""Whose value it is: the model's, that of the ranking by popularity, or that of means and biases alone."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name
        As in `ndcg@10`, without the part.
    meaning
        A sentence with the formula, for tables.
    kind
        What it judges.
    larger_is_better
        Whether a larger value is better.
    """

    name: str
    meaning: str
    kind: Kind
    larger_is_better: bool

    @property
    def baseline(self) -> Part:
        """What the model's value stands beside."""
        return "most_popular" if self.kind == "ranking" else "mean_ratings"

    @property
    def log_name(self) -> str:
        """The model's value in log, manifest and metric definitions, as in `validation:ndcg@10`."""
        return f"validation:{self.name}"

    @property
    def baseline_name(self) -> str:
        """The baseline's value there, as in `most_popular:ndcg@10`."""
        return f"{self.baseline}:{self.name}"


K = 10
"""Length of the rankings that a job is measured by."""


def ranking_metrics_at(k: int) -> tuple[Metric, ...]:
    """Return the metrics of rankings of length k, the objective first."""
    mean = "mean over users"
    return (
        Metric(
            f"ndcg@{k}",
            f"Sum of 1 / log2(position + 1) over the hits, / the same sum of a perfect top {k}; {mean}.",
            "ranking",
            True,
        ),
        Metric(f"precision@{k}", f"Held-out items among the top {k} (hits) / {k}; {mean}.", "ranking", True),
        Metric(f"recall@{k}", f"Hits / held-out items of the user; {mean}.", "ranking", True),
        Metric(
            f"map@{k}",
            f"Sum over the hits of (hits up to there / position), / held-out items of the user; {mean}.",
            "ranking",
            True,
        ),
        Metric(f"mrr@{k}", f"1 / position of the first hit, 0 without one; {mean}.", "ranking", True),
        Metric(f"hit_rate@{k}", "Users with a hit / users.", "ranking", True),
        Metric(
            "auc",
            "Pairs of a held-out and another unseen item of the user in which the held-out one is ranked above"
            f" (ties count half) / all such pairs; {mean}.",
            "ranking",
            True,
        ),
        Metric(
            f"coverage@{k}",
            f"Distinct items in the top {k} of all measured users / items that may be recommended.",
            "ranking",
            True,
        ),
    )


RATING_METRICS = (
    Metric("rmse", "√(sum of (predicted − given rating)² / held-out ratings of all measured users).", "rating", False),
    Metric("mae", "Sum of |predicted − given rating| / held-out ratings of all measured users.", "rating", False),
)
"""The metrics of predicted ratings, the objective first."""

METRICS = (*ranking_metrics_at(K), *RATING_METRICS)
"""All that a training job may report."""

LOSS = "validation:loss"
"""What a model of ratings minimises, on held-out ratings: logged each epoch, and the objective of `patience`."""
