"""The search: training jobs with hyperparameters that Optuna proposes, the best kept."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from pipeline_steps.aws import Clients
from pipeline_steps.errors import InputRefusedError, JobFailedError
from pipeline_steps.made import Made
from pipeline_steps.progress import TRAINING, is_over, say
from pipeline_steps.training import training_request
from pipeline_steps.tuning_options import TuneOptions
from pipeline_steps.tuning_plan import Plan, of_trial

if TYPE_CHECKING:
    import optuna

_HOPELESS = 3
"""Trials after which a search ends that has come to no value at all: all others would fail alike, and be paid for."""

_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    trial: int
    value: float
    hyperparameters: Mapping[str, str]


@dataclass
class Running:
    """A trial whose job runs.

    Attributes
    ----------
    number
        From 1; the first has the defaults.
    job
        Its training job.
    proposed
        What Optuna asked for; None for the first.
    hyperparameters
        As the job has them, beside those of every trial.
    """

    number: int
    job: str
    proposed: optuna.Trial | None
    hyperparameters: Mapping[str, str]


class Proposals:
    """What to try next, by what came of the trials before: Optuna's tree of Parzen estimators, seeded."""

    def __init__(self, plan: Plan, *, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise InputRefusedError(f"tune.py needs Optuna ({error}): pip install -r requirements.txt") from error
        from factorbox.training.search_spaces import Choices

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._plan = plan
        # Of trials that still run the sampler assumes that they are bad, and so looks elsewhere.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction="maximize" if plan.maximize else "minimize", sampler=sampler)
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, one in plan.space.items():
            if isinstance(one, Choices):
                self._distributions[name] = optuna.distributions.CategoricalDistribution(one.values)
            elif one.whole:
                self._distributions[name] = optuna.distributions.IntDistribution(
                    int(one.low), int(one.high), log=one.logarithmic
                )
            else:
                self._distributions[name] = optuna.distributions.FloatDistribution(
                    one.low, one.high, log=one.logarithmic
                )

    def ask(self) -> tuple[optuna.Trial, dict[str, str]]:
        """Return a trial and its hyperparameters, as a job takes them."""
        trial = self._study.ask(self._distributions)
        # Four digits tell enough, and are what the best is written with.
        params = trial.params.items()
        return trial, {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in params}

    def tell(self, running: Running, value: float | None) -> None:
        """Say what came of a trial; None for one that failed."""
        if running.proposed is not None:
            state = self._optuna.trial.TrialState.FAIL if value is None else None
            self._study.tell(running.proposed, value, state=state)
        elif value is not None and self._plan.defaults:
            params = dict(self._plan.defaults)
            distributions = {name: self._distributions[name] for name in params}
            self._study.add_trial(
                self._optuna.trial.create_trial(params=params, distributions=distributions, value=value)
            )


class Search:
    """One search: its trials are run, told of in a line each, and the best is written as it comes."""

    def __init__(self, clients: Clients, options: TuneOptions, plan: Plan, *, made: Made) -> None:
        self._clients = clients
        self._options = options
        self._plan = plan
        self._made = made
        self._ended = 0
        self.best: Best | None = None

    def run(self, *, channels: Mapping[str, str], work: str, role: str) -> None:
        """Run all trials; what still runs when something ends this is stopped.

        Parameters
        ----------
        channels
            URI of the data of each channel.
        work
            URI below which jobs write.
        role
            ARN of the role that SageMaker takes.

        Raises
        ------
        JobFailedError
            Where no trial comes to a value, or a job completes without the metric.
        """
        proposals = Proposals(self._plan, seed=self._options.seed)
        running: list[Running] = []
        started, pause = 0, _FIRST_PAUSE
        try:
            while running or started < self._options.trials:
                while started < self._options.trials and len(running) < self._options.parallel:
                    started += 1
                    trial = self._proposed(started, proposals)
                    # Before its job is asked for, which may be there even if the answer never comes.
                    running.append(trial)
                    try:
                        self._start(trial, channels=channels, work=work, role=role)
                    except (ClientError, ParamValidationError):
                        running.remove(trial)
                        raise
                    pause = _FIRST_PAUSE
                over = [(trial, ended) for trial in running if (ended := self._ended_as(trial)) is not None]
                for trial, description in over:
                    running.remove(trial)
                    proposals.tell(trial, self._judged(trial, description))
                if not over:
                    time.sleep(pause)
                    pause = min(pause * 1.2, _LONGEST_PAUSE)
        finally:
            for trial in running:
                _stop(self._clients, trial.job)
        if self.best is None:
            raise JobFailedError(f"none of {self._ended} trials came to a value of {self._plan.metric}")

    def _proposed(self, number: int, proposals: Proposals) -> Running:
        job = f"{self._options.name}-{number:03}"
        if number == 1:
            return Running(number, job, None, {})
        return Running(number, job, *proposals.ask())

    def _start(self, trial: Running, *, channels: Mapping[str, str], work: str, role: str) -> None:
        options = of_trial(self._options, self._plan, name=trial.job, hyperparameters=trial.hyperparameters)
        request = training_request(options, channels=channels, work=work, role=role)
        with (
            self._made.noting(self._made.jobs, (TRAINING, trial.job)),
            self._made.noting(self._made.folders, f"{work}/{trial.job}/output/"),
        ):
            self._clients.sagemaker.create_training_job(**request)

    def _ended_as(self, trial: Running) -> Mapping[str, Any] | None:
        description: Mapping[str, Any] = TRAINING.call("describe", self._clients, trial.job)
        return description if is_over(description["TrainingJobStatus"]) else None

    def _judged(self, trial: Running, description: Mapping[str, Any]) -> float | None:
        """Say what came of a trial, keep it if it is the best, and return its value; None where it failed."""
        self._ended += 1
        tried = ", ".join(f"{name}={value}" for name, value in trial.hyperparameters.items()) or "defaults"
        head = f"trial {trial.number} of {self._options.trials}:"
        status = description["TrainingJobStatus"]
        if status != "Completed":
            why = description.get("FailureReason") or description.get("SecondaryStatus") or "no reason was given"
            say(f"{head} {status}: {why}; {tried}")
            if self.best is None and self._ended >= _HOPELESS:
                raise JobFailedError(f"all of the first {self._ended} trials failed, the last one with: {why}")
            return None
        value = self._value(trial, description)
        seconds = description.get("TrainingTimeInSeconds", 0)
        better = self._plan.is_better(value, None if self.best is None else self.best.value)
        say(f"{head} {self._plan.metric}={value:.6g}{', the best so far' if better else ''}; {seconds} s; {tried}")
        if better:
            best = Best(trial.number, value, {**self._plan.kept, **trial.hyperparameters})
            write_json(self._options.output, best.hyperparameters)
            self.best = best
        return value

    def _value(self, trial: Running, description: Mapping[str, Any]) -> float:
        found = {entry["MetricName"]: entry["Value"] for entry in description.get("FinalMetricDataList", [])}
        if self._plan.metric not in found:
            raise JobFailedError(
                f"the training job {trial.job} completed without {self._plan.metric} (SageMaker found"
                f" {', '.join(sorted(found)) or 'no metric'} in its log), and so would the others: is --image"
                " factorbox's, and is something held out to measure by?"
            )
        return float(found[self._plan.metric])


def write_json(path: Path, content: Mapping[str, str]) -> None:
    """Write a JSON object in the place of the file, or of what it is a link to, whole or not at all.

    Raises
    ------
    InputRefusedError
        Where that cannot be, and where something else than a file is there.
    """
    check_writable(path)
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise InputRefusedError(f"cannot write {path}: {error.strerror}; give another --output") from error
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a path in whose place no file can be written.

    Raises
    ------
    InputRefusedError
        Where something else than a file is there, or the folder takes none.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise InputRefusedError(f"cannot write {path}: it is there already and is no file; give another --output")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputRefusedError(f"cannot write {path}: {error.strerror}; give another --output") from error


def _stop(clients: Clients, job: str) -> None:
    say(f"Stopping the training job {job}")
    try:
        TRAINING.call("stop", clients, job)
    except (ClientError, BotoCoreError) as error:
        # It may have ended by itself, or never have begun; or AWS is out of reach. The others are stopped all the same.
        say(f"   it was not stopped: {error}")
