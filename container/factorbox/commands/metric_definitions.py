"""What SageMaker is to find in the log of a job: metric definitions, and the objectives that tuning may take."""

from __future__ import annotations

from factorbox.contract.metric_lines import definition
from factorbox.evaluation.metrics import LOSS, METRICS

_TRAIN_LOSS = "train_loss"


def metric_definitions() -> list[dict[str, str]]:
    """Return `MetricDefinitions` of `create_training_job`: losses, the model's metrics, and those of its baselines."""
    names = [metric.log_name for metric in METRICS] + [metric.baseline_name for metric in METRICS]
    return [definition(name) for name in (_TRAIN_LOSS, LOSS, *names)]


def tuning_objectives() -> list[dict[str, str]]:
    """Return what a tuning job may optimise, each as `HyperParameterTuningJobObjective` has it, the best choice first.

    A baseline is not among them, nor is a loss: that of training only falls the more a model overfits, and no two
    settings of what is minimised have comparable ones. Every measured job logs those of rankings, and those of ratings
    where its model predicts such.
    """
    return [
        {"Type": "Maximize" if metric.larger_is_better else "Minimize", "MetricName": metric.log_name}
        for metric in METRICS
    ]
