"""A model beside its baseline in words: which is better, by how much, and whether chance may explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.metrics import RATING_METRICS, Kind, Metric, ranking_metrics_at
from factorbox.report.charts import decimal, percent

MODEL = "this model"
"""What tables and charts call the model."""

BASELINES: Mapping[Kind, str] = {"ranking": "most popular", "rating": "means and biases"}
"""What they call the baselines."""

_NAMES = {
    "ndcg": "nDCG",
    "precision": "Precision",
    "recall": "Recall",
    "map": "MAP",
    "mrr": "MRR",
    "hit_rate": "Hit rate",
    "auc": "AUC",
    "coverage": "Coverage",
    "rmse": "RMSE",
    "mae": "MAE",
    "loss": "Loss",
}
_DIGITS = 4


@dataclass(frozen=True)
class Comparison:
    """One metric of a model and of its baseline.

    Attributes
    ----------
    metric
        Which.
    model, baseline
        Its values.
    """

    metric: Metric
    model: Estimate
    baseline: Estimate

    @property
    def gain(self) -> float | None:
        """How much better the model is, as a share of the baseline; None where the baseline is 0."""
        if self.baseline.value == 0:
            return None
        difference = self.model.value - self.baseline.value
        return (difference if self.metric.larger_is_better else -difference) / abs(self.baseline.value)

    @property
    def intervals_overlap(self) -> bool:
        """Whether both have intervals, and these have values in common."""
        model, baseline = self.model, self.baseline
        if model.low is None or model.high is None or baseline.low is None or baseline.high is None:
            return False
        return model.low <= baseline.high and baseline.low <= model.high

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        name, other = display_name(self.metric.name), BASELINES[self.metric.kind]
        interval = interval_text(self.model)
        value = decimal(self.model.value, _DIGITS) + (f" (95% interval {interval})" if interval else "")
        gain = self.gain
        if self.model.value == self.baseline.value:
            verdict = f"the same as {other}"
        elif gain is None:
            verdict = f"and that of {other} is {decimal(self.baseline.value, _DIGITS)}"
        else:
            verdict = f"{gain_size(gain)} {'better' if gain > 0 else 'worse'} than {other}"
            verdict += f" ({decimal(self.baseline.value, _DIGITS)})"
        is_open = self.intervals_overlap and self.model.value != self.baseline.value
        chance = " The two intervals overlap, so that the difference may be chance." if is_open else ""
        return f"{name} is {value}, {verdict}.{chance}"


def comparisons(evaluation: Evaluation, kind: Kind) -> list[Comparison]:
    """Return the metrics of one kind that were measured for both, in the order of `metrics`."""
    known = ranking_metrics_at(evaluation.k) if kind == "ranking" else RATING_METRICS
    return [
        Comparison(metric, evaluation.metrics[metric.name], evaluation.baseline[metric.name])
        for metric in known
        if metric.name in evaluation.metrics and metric.name in evaluation.baseline
    ]


def display_name(name: str) -> str:
    """Return what a metric is called for readers: `nDCG@10` for `validation:ndcg@10`."""
    plain, at, k = name.rpartition(":")[2].partition("@")
    return _NAMES.get(plain, plain) + at + k


def interval_text(estimate: Estimate) -> str:
    """Return an interval as in `0.335 to 0.355`, nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{decimal(estimate.low, _DIGITS)} to {decimal(estimate.high, _DIGITS)}"


def estimate_text(estimate: Estimate) -> str:
    """Return a value and its interval as a table shows them, in few signs for the columns of a phone."""
    value = decimal(estimate.value, _DIGITS)
    interval = interval_text(estimate).replace(" to ", "\N{EN DASH}")
    return f"{value} ({interval})" if interval else value


def gain_texts(of: Sequence[Comparison]) -> list[str]:
    """Return how much better the model is by each metric, as in `+38%`, all with as many decimals."""
    gains = [one.gain for one in of]
    digits = max((_decimals(gain) for gain in gains if gain), default=0)
    return [("+" if gain is not None and gain > 0 else "") + percent(gain, digits) for gain in gains]


def gain_size(gain: float) -> str:
    """Return how large a gain or a loss is, as in `38%` and `3.8%`."""
    return percent(abs(gain), _decimals(gain))


def _decimals(gain: float) -> int:
    return 0 if abs(gain) >= 0.0995 else 1
