"""What a search tries and by what it judges, checked by factorbox before any job is paid for.

This and `tuning` are the steps that know factorbox: its hyperparameters, their ranges and its metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline_steps.errors import InputRefusedError
from pipeline_steps.tuning_options import TuneOptions

if TYPE_CHECKING:
    from factorbox.training.search_spaces import Numbers, Range, SearchSpace

_OBJECTIVE = "_tuning_objective_metric"
"""What SageMaker's tuning jobs add to the hyperparameters: so factorbox refuses at once what it will not measure."""

_CHEAPER = {"refit": "false", "write_requests": "false"}
"""What a job that only has to be measured can do without."""


@dataclass(frozen=True)
class Plan:
    """A search before it begins.

    Attributes
    ----------
    space
        What is searched.
    defaults
        Of that, what the algorithm takes by default, as far as the space has it; a default that depends on the data is
        not among them.
    kept
        Hyperparameters of every trial that belong to the result too.
    beside
        Those that do not.
    metric, maximize
        What a trial is judged by, and whether more of it is better.
    definitions
        What SageMaker is to find in the log: name and regular expression.
    """

    space: SearchSpace
    defaults: Mapping[str, str | float]
    kept: Mapping[str, str]
    beside: Mapping[str, str]
    metric: str
    maximize: bool
    definitions: Mapping[str, str]

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a value of the metric is better than another one, or the first."""
        return than is None or (value > than if self.maximize else value < than)


def plan_of(options: TuneOptions) -> Plan:
    """Make the plan that the options ask for.

    Raises
    ------
    InputRefusedError
        For hyperparameters that factorbox would refuse, a space of others, and a metric that jobs would not log.
    """
    with _factorbox():
        from factorbox.commands.metric_definitions import metric_definitions, tuning_objectives
        from factorbox.options import options_of
        from factorbox.training.gate import objective
        from factorbox.training.job import read_job
        from factorbox.training.search_spaces import SEARCH_SPACES, Choices

        given = dict(options.hyperparameters)
        if options.algorithm:
            given["algorithm"] = options.algorithm
        job = read_job(given)
        metric = options.metric or objective(predicts_ratings=job.predicts_ratings).log_name
        goals = {goal["MetricName"]: goal["Type"] for goal in tuning_objectives()}
        if metric not in goals:
            raise InputRefusedError(f"--metric {metric!r} is none to search by: take one of {', '.join(goals)}")
        read_job({**given, _OBJECTIVE: metric})
        declared = options_of(job.algorithm.config)
        fixed = {name for name, one in declared.items() if any(spelling in given for spelling in (name, *one.aliases))}
        whole_space = _read_space(options) if options.space else SEARCH_SPACES[job.algorithm.name]
        space = {name: one for name, one in whole_space.items() if name not in fixed}
        if not space:
            raise InputRefusedError("--hyperparameters gives everything that would be searched: leave some of it out")
        for name, one in space.items():
            if name not in declared:
                raise InputRefusedError(
                    f"{name} is no hyperparameter of {job.algorithm.name}: search among {', '.join(declared)}"
                )
            for value in one.values if isinstance(one, Choices) else _some_of(one):
                read_job({**given, name: value})
        defaults = {name: _within(one, getattr(job.config, name)) for name, one in space.items()}
        cheaper = {name: value for name, value in _CHEAPER.items() if name not in given}
        if options.validation:
            # Nothing is held out of the training data, so there is nothing to put back.
            cheaper.pop("refit", None)
        return Plan(
            space=space,
            defaults={name: value for name, value in defaults.items() if value is not None},
            kept={"algorithm": job.algorithm.name, **given},
            beside={**cheaper, _OBJECTIVE: metric},
            metric=metric,
            maximize=goals[metric] == "Maximize",
            definitions={entry["Name"]: entry["Regex"] for entry in metric_definitions()},
        )


def tuning_job(plan: Plan, options: TuneOptions) -> dict[str, Any]:
    """Return the parts of a request CreateHyperParameterTuningJob that say what is searched, and by what."""
    from factorbox.training.search_spaces import parameter_ranges

    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize" if plan.maximize else "Minimize",
                "MetricName": plan.metric,
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": options.trials,
                "MaxParallelTrainingJobs": options.parallel,
            },
            "ParameterRanges": parameter_ranges(plan.space),
            "TrainingJobEarlyStoppingType": "Off",
            "RandomSeed": options.seed,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": dict(plan.kept),
            "AlgorithmSpecification": {
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in plan.definitions.items()],
            },
        },
    }


def of_trial(options: TuneOptions, plan: Plan, *, name: str, hyperparameters: Mapping[str, str]) -> TuneOptions:
    """Return the options of one trial's training job."""
    return replace(
        options,
        name=name,
        hyperparameters={**plan.kept, **plan.beside, **hyperparameters},
        metric_definitions=plan.definitions,
    )


def _some_of(numbers: Numbers) -> tuple[str, ...]:
    """Return both ends and, where not only whole numbers are meant, one that is none."""
    ends = (f"{numbers.low:g}", f"{numbers.high:g}")
    return ends if numbers.whole else (*ends, f"{numbers.low + (numbers.high - numbers.low) / math.pi:g}")


def _within(one: Range, value: Any) -> str | float | None:
    """Return a value as the range has it; None where it is outside."""
    from factorbox.training.search_spaces import Choices

    if isinstance(one, Choices):
        return value if value in one.values else None
    try:
        number = int(value) if one.whole else float(value)
    except (TypeError, ValueError):
        return None
    return number if one.low <= number <= one.high else None


def _read_space(options: TuneOptions) -> SearchSpace:
    from factorbox.errors import UserError
    from factorbox.training.search_spaces import read_parameter_ranges

    assert options.space is not None
    try:
        return read_parameter_ranges(json.loads(options.space.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputRefusedError(f"cannot read --space {options.space}: {error.strerror}") from error
    except (UserError, ValueError) as error:
        raise InputRefusedError(f"--space {options.space}: {error}") from error
    except RecursionError as error:
        raise InputRefusedError(f"--space {options.space}: it is nested too deeply to be a space") from error


@contextmanager
def _factorbox() -> Iterator[None]:
    """Run what imports and asks factorbox; what it refuses becomes a sentence of this program."""
    try:
        from factorbox.errors import UserError
    except ImportError as error:
        raise InputRefusedError(f"tune.py needs factorbox here ({error}): pip install -e .") from error
    try:
        yield
    except UserError as error:
        raise InputRefusedError(str(error)) from error
