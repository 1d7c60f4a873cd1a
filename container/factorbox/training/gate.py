"""The publish gate: what a model must reach for the job to succeed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from factorbox.contract.hyperparameters import shown
from factorbox.errors import UserError
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.metrics import LOSS, METRICS, Metric
from factorbox.options import check_ranges, option

_CONDITION = re.compile(r"\s*([^\s<>=,]+)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*")
_EXAMPLE = "validation:ndcg@10>=0.20"
_ROUNDING = 1e-9
_BY_NAME: Mapping[str, Metric] = {metric.log_name: metric for metric in METRICS}


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """Hyperparameters of the publish gate.

    Raises
    ------
    UserError
        For a condition that cannot be read, names no metric, or asks for a bad value to be reached.
    """

    min_metric: str | None = option(
        None,
        f"What the model must reach, as in {_EXAMPLE}; several conditions with commas. A model that does not ends the"
        " job with an error and is not saved.",
    )
    beat_popularity: bool = option(
        False,
        "Whether the model must do better than most popular (by ndcg@10), or a model of ratings better than means and"
        " biases (by rmse); otherwise as min_metric.",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        self.conditions()

    @property
    def is_set(self) -> bool:
        """Whether there is anything to reach."""
        return self.min_metric is not None or self.beat_popularity

    @property
    def as_given(self) -> str:
        """The hyperparameters that make up the gate, for errors."""
        minimum = [] if self.min_metric is None else [f"min_metric={self.min_metric}"]
        return " and ".join([*minimum, *(["beat_popularity=true"] if self.beat_popularity else [])])

    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions of `min_metric`."""
        return () if self.min_metric is None else tuple(_read(text) for text in self.min_metric.split(","))

    def check_kind(self, *, predicts_ratings: bool) -> None:
        """Raise `UserError` for a condition on ratings where the model predicts none."""
        for condition in self.conditions():
            require_kind(condition.metric, asked_by=f"min_metric={self.min_metric}", predicts_ratings=predicts_ratings)

    def failures(self, evaluation: Evaluation, *, predicts_ratings: bool) -> tuple[str, ...]:
        """Return each condition that a model does not meet, with the figures; none where it may be published."""
        failed = [
            f"{_figure(condition.metric, evaluation)} is not {condition.sign} {condition.limit:.10g}"
            for condition in self.conditions()
            if not condition.is_met(evaluation)
        ]
        if self.beat_popularity:
            metric = objective(predicts_ratings=predicts_ratings)
            if not is_better(metric, evaluation.metrics[metric.name].value, evaluation.baseline[metric.name].value):
                failed.append(f"{_figure(metric, evaluation)} is no better than that")
        return tuple(failed)


@dataclass(frozen=True)
class Condition:
    """One condition of `min_metric`."""

    metric: Metric
    sign: str
    limit: float

    def is_met(self, evaluation: Evaluation) -> bool:
        """Whether a model meets it; one for which the metric could not be worked out does not."""
        estimate = evaluation.metrics.get(self.metric.name)
        if estimate is None:
            return False
        value = estimate.value
        if self.sign in (">=", "<=") and math.isclose(value, self.limit, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
            # A mean of tenths, say, is off by a rounding from the number that stands for it.
            return True
        return value > self.limit if self.sign.startswith(">") else value < self.limit


def objective(*, predicts_ratings: bool = False) -> Metric:
    """Return the metric by which one model is better than another."""
    return next(metric for metric in METRICS if metric.kind == ("rating" if predicts_ratings else "ranking"))


def is_better(metric: Metric, value: float, other: float) -> bool:
    """Whether one value of a metric is better than another."""
    return value > other if metric.larger_is_better else value < other


def require_kind(metric: Metric, *, asked_by: str, predicts_ratings: bool) -> None:
    """Raise `UserError` where a metric of ratings is asked of a model that predicts none."""
    if metric.kind == "rating" and not predicts_ratings:
        rankings = ", ".join(other.log_name for other in METRICS if other.kind == "ranking")
        raise UserError(
            f"{asked_by} needs a model of ratings, and this one ranks only: take one of {rankings}, or another"
            " algorithm"
        )


def require_objective(name: str | None, *, predicts_ratings: bool, unmeasured: str | None) -> None:
    """Refuse at once the objective of a tuning job that this job will never log.

    Names that are not ours are not judged: a metric definition may be called anything.

    Parameters
    ----------
    name
        The objective; None without a tuning job.
    unmeasured
        Why nothing is measured; None where something is.

    Raises
    ------
    UserError
        For a metric of ratings where there are none, and any metric of ours where nothing is measured.
    """
    if name is None or (name not in _BY_NAME and name != LOSS):
        return
    asked_by = f"the tuning objective {name}"
    if name in _BY_NAME:
        require_kind(_BY_NAME[name], asked_by=asked_by, predicts_ratings=predicts_ratings)
    elif not predicts_ratings:
        raise UserError(f"{asked_by} is logged for models of ratings only: tune on {objective().log_name}")
    if unmeasured is not None:
        raise UserError(f"{asked_by} is never logged by this job, since {unmeasured}; or tune on train_loss")


def _read(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UserError(f"min_metric={shown(text)} is no condition: write one such as {_EXAMPLE}")
    name, sign, number = found.groups()
    metric = _BY_NAME.get(name) or _BY_NAME.get(f"validation:{name}")
    if metric is None:
        raise UserError(f"min_metric names no metric {shown(name)}: take one of {', '.join(_BY_NAME)}")
    asked = f"min_metric={shown(text)}"
    try:
        limit = float(number)
    except ValueError:
        raise UserError(f"{asked}: {shown(number)} is no number; write one such as {_EXAMPLE}") from None
    if metric.larger_is_better != sign.startswith(">"):
        better, right = ("larger", ">=") if metric.larger_is_better else ("smaller", "<=")
        raise UserError(f"{asked}: {better} is better for {metric.name}, so write {name}{right}{number}")
    if metric.kind == "ranking" and not 0 <= limit <= 1:
        raise UserError(f"{asked} tells nothing: {metric.name} lies between 0 and 1, so write 0.2 for 20%")
    if not math.isfinite(limit):
        raise UserError(f"{asked}: {shown(number)} is too large; write a finite number")
    return Condition(metric, sign, limit)


def _figure(metric: Metric, evaluation: Evaluation) -> str:
    if metric.name not in evaluation.metrics:
        return f"{metric.log_name}, for which these data have too few items,"
    model, baseline = evaluation.metrics[metric.name], evaluation.baseline[metric.name]
    beside = f"{metric.baseline.replace('_', ' ')} {baseline.value:.4g}"
    return f"{metric.log_name}={model.value:.4g}{_interval(model)} beside {beside}{_interval(baseline)}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" (95%: {estimate.low:.4g} to {estimate.high:.4g})"
