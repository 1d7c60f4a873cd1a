"""What SageMaker is to find in the log of a job: metric definitions, and the objectives that tuning may take."""

from __future__ import annotations

from factorbox.contract.metric_lines import definition
from factorbox.evaluation.metrics import METRICS

_TRAIN_LOSS = "train_loss"
_VALIDATION_LOSS = "validation:loss"


def metric_definitions() -> list[dict[str, str]]:
    """Return `MetricDefinitions` of `create_training_job`: losses, the model's metrics, and those of its baselines."""
    names = [metric.log_name for metric in METRICS] + [metric.baseline_name for metric in METRICS]
    return [definition(name) for name in (_TRAIN_LOSS, _VALIDATION_LOSS, *names)]


def tuning_objectives() -> list[dict[str, str]]:
    """Return what a tuning job may optimise, each as `HyperParameterTuningJobObjective` has it, the best choice first.

    A baseline is not among them, nor is the loss of training, which only falls the more a model overfits.
    """
    objectives = [(metric.log_name, metric.larger_is_better) for metric in METRICS] + [(_VALIDATION_LOSS, False)]
    return [{"Type": "Maximize" if larger else "Minimize", "MetricName": name} for name, larger in objectives]
