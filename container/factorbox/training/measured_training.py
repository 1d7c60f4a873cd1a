"""The training of a job: its model measured by held-out interactions where some are held out, and then finished.

The measured model is fitted without the held-out interactions. Then the training finishes on all of them: by a few
epochs that begin with the measured model where that is as good (`Algorithm.warm_epochs`), else from the beginning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from factorbox.contract.log_lines import line
from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.evaluation.estimates import Evaluation
from factorbox.evaluation.measuring import evaluate
from factorbox.evaluation.metrics import METRICS
from factorbox.models.base import Factors
from factorbox.report.inputs import CurvePoint
from factorbox.training.epoch_measures import Progress, measure_of, rated_by_config
from factorbox.training.fitting import Fitting
from factorbox.training.hold_out import HoldOut, hold_out
from factorbox.training.job import Job

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Measured:
    """A fitted model and how good it is.

    Attributes
    ----------
    factors
        The model: that of the best epoch where the job has `patience`, else of the last.
    evaluation
        How good it is; None where nothing was held out.
    about
        What was measured, or why nothing was, in a sentence.
    hold_out
        The data in two parts; None where nothing was held out.
    curve
        Every epoch.
    curve_users
        Users over whom the metrics of the epochs are means; None where nothing was held out.
    seconds
        Wall time of its parts.
    job
        The job with what its trials chose.
    """

    factors: Factors
    evaluation: Evaluation | None
    about: str
    hold_out: HoldOut | None
    curve: tuple[CurvePoint, ...]
    curve_users: int | None
    seconds: Mapping[str, float]
    job: Job


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model that a job leaves.

    Attributes
    ----------
    factors
        The model.
    trained_on
        What it has learned from.
    unlearned
        What its users have beside that: held-out interactions that were not put back; None where there are none.
    about
        What was measured, and whether this model has learned from the held-out interactions since.
    has_learned_all
        Whether it has.
    seconds
        Wall time of its parts.
    """

    factors: Factors
    trained_on: Interactions
    unlearned: Pairs | None
    about: str
    has_learned_all: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasuredTraining:
    """A job's whole training.

    Attributes
    ----------
    fitting
        How it fits.
    available
        bool, (items,): what may be recommended at all; None for all. The model is measured by that alone.
    """

    fitting: Fitting
    available: NDArray[np.bool_] | None = None

    def measured(self, interactions: Interactions, *, outside: OutsidePairs | None = None) -> Measured:
        """Fit without the held-out interactions and measure by those; fit on all where nothing is held out.

        Parameters
        ----------
        interactions
            All training data.
        outside
            The channel `validation`; None where there is none.

        Raises
        ------
        UserError
            Where nothing can be held out and the job has a publish gate, or needs times that are not there.
        AlgorithmError
            Where no epoch was completed.
        PlatformError
            Where the GPU ran out of memory.
        """
        held = self._held_out(interactions, outside)
        if isinstance(held, str):
            # A model of which nobody can say whether it may be published is not worth its training.
            self._job.require_measured(held)
        started = time.perf_counter()
        searched = replace(self, fitting=self.fitting.tried(interactions if isinstance(held, str) else held.training))
        seconds = {"trials": time.perf_counter() - started}
        return searched._measured(interactions, held, seconds=seconds)

    def _measured(self, interactions: Interactions, held: HoldOut | str, *, seconds: Mapping[str, float]) -> Measured:
        if isinstance(held, str):
            started = time.perf_counter()
            factors, curve = self.fitting.fit(interactions)
            self.fitting.report_end(factors, cut=False)
            return Measured(
                factors=factors,
                evaluation=None,
                about=f"Nothing was measured: {held}.",
                hold_out=None,
                curve=curve,
                curve_users=None,
                seconds={**seconds, "training": time.perf_counter() - started},
                job=self._job,
            )
        return self._measured_by(held, seconds=seconds)

    def finished(self, measured: Measured, interactions: Interactions) -> Fitted:
        """Return the model to publish: for a job with `refit`, the measured one after training on all interactions.

        A job that was told to stop keeps the model as it stands.
        """
        held = measured.hold_out
        if held is None:
            return Fitted(measured.factors, interactions, None, measured.about)
        if held.is_own_channel:
            about = f"{measured.about} They are not part of the training data."
            return Fitted(measured.factors, interactions, None, about)
        kept = Fitted(measured.factors, held.training, held.held_out, f"{measured.about} The model has not seen them.")
        if self.fitting.should_stop():
            _logger.warning(
                "the job was told to stop: the model has not learned from the %d held-out interactions",
                len(held.held_out),
            )
            return kept
        if not self._job.hold_out.refit:
            return kept
        started = time.perf_counter()
        factors = replace(self, fitting=replace(self.fitting, job=measured.job))._refitted(measured, interactions)
        if factors is None:
            _logger.warning(
                "the job was told to stop before it had learned from the %d held-out interactions: the measured model"
                " is kept",
                len(held.held_out),
            )
            return kept
        made, asked = factors.epochs - measured.factors.epochs, self._warm_epochs
        cut = f" for {made} of {asked} epochs" if asked is not None and made < asked and not factors.converged else ""
        if cut:
            _logger.warning("stopped early: %d of %d epochs with all interactions", made, asked)
        return Fitted(
            factors,
            interactions,
            None,
            f"{measured.about} Training then went on with them{cut}, so this model has seen them.",
            has_learned_all=True,
            seconds={"refit": time.perf_counter() - started},
        )

    @property
    def _warm_epochs(self) -> int | None:
        """Epochs that finish a measured model; None where it is trained anew."""
        warm = self._job.algorithm.warm_epochs
        return None if warm is None else min(warm, self.fitting.epochs)

    @property
    def _job(self) -> Job:
        return self.fitting.job

    def _held_out(self, interactions: Interactions, outside: OutsidePairs | None) -> HoldOut | str:
        """Hold interactions out where the job asks for it and the data can spare some."""
        held = hold_out(
            interactions,
            options=self._job.hold_out,
            outside=outside,
            available=self.available,
            random_state=self._job.options.random_state,
        )
        if isinstance(held, HoldOut):
            try:
                self._job.algorithm.resolved(self._job.config, interactions=held.training)
            except UserError as error:
                # All interactions suited the job; what is left without some does not, as where the only like is out.
                _logger.warning("nothing is measured: without the held-out interactions, %s", error)
                return f"without the held-out interactions, {error}"
        return held

    def _measured_by(self, held: HoldOut, *, seconds: Mapping[str, float]) -> Measured:
        job, started = self._job, time.perf_counter()
        progress = Progress(
            measure_of(
                job.algorithm,
                job.config,
                hold_out=held,
                random_state=job.options.random_state,
                threads=self.fitting.threads,
            ),
            patience=job.hold_out.patience,
        )
        if progress.n_users < len(held.users):
            _logger.info("the epochs are measured on %d of the %d users", progress.n_users, len(held.users))
        factors, curve = self.fitting.fit(held.training, is_over=lambda: progress.is_over, measured=progress.add)
        self._log_best(progress)
        self.fitting.report_end(factors, cut=progress.is_over)
        if progress.best is not None and progress.best.epochs < factors.epochs:
            factors = job.algorithm.finished(
                progress.best,
                interactions=held.training,
                config=job.config,
                threads=self.fitting.threads,
                device=self.fitting.device,
            )
        fitted = time.perf_counter()
        evaluation = evaluate(
            factors,
            trained=held.training.by_user(),
            held_out=held.held_out,
            users=held.users,
            n_items=held.training.n_items,
            rated=rated_by_config(job.algorithm, job.config),
            available=held.available,
            random_state=job.options.random_state,
            threads=self.fitting.threads,
        )
        about = _about(held, evaluation, epoch=factors.epochs)
        _log_evaluation(evaluation, about=about)
        seconds = {
            **seconds,
            "training": fitted - started - progress.seconds,
            "learning_curve": progress.seconds,
            "evaluation": time.perf_counter() - fitted,
        }
        return Measured(factors, evaluation, about, held, curve, progress.n_users, seconds, job)

    def _refitted(self, measured: Measured, interactions: Interactions) -> Factors | None:
        """Train on all interactions; None where the job was told to stop before that was worth anything."""
        algorithm, config, before = self._job.algorithm, self._job.config, measured.factors.epochs
        warm = self._warm_epochs
        if warm is not None:
            _logger.info("training goes on with all interactions: %d epochs", warm)
            factors, _ = self.fitting.fit(
                interactions,
                config=algorithm.continuation(config, epochs=warm),
                start=measured.factors,
                logs_as="refit_epoch",
            )
            return None if factors.epochs == before else factors
        last = before if self._job.hold_out.patience is not None else self.fitting.epochs
        _logger.info("training anew on all interactions")
        factors, _ = self.fitting.fit(interactions, at_most=last, logs_as="refit_epoch")
        if self.fitting.should_stop() and factors.epochs < last and not factors.converged:
            return None
        self.fitting.report_end(factors, cut=last < self.fitting.epochs)
        return factors

    def _log_best(self, progress: Progress) -> None:
        best, epochs = progress.best_epoch, progress.epochs
        _logger.info(line(best_epoch=best, epochs=epochs, **progress.objective_of(best)))
        if progress.is_over:
            _logger.info(
                "stopped early: %d of %d epochs, the last %d no better", epochs, self.fitting.epochs, epochs - best
            )
        elif progress.overfits:
            _logger.info("epochs after the best one may overfit: set patience, or epochs to %d", best)


def _about(held: HoldOut, evaluation: Evaluation, *, epoch: int) -> str:
    return (
        f"Measured after epoch {epoch} by {held.description}: {evaluation.pairs:,} interactions of"
        f" {evaluation.users:,} users, which the model had not learned from."
    )


def _log_evaluation(evaluation: Evaluation, *, about: str) -> None:
    reported = [metric for metric in METRICS if metric.name in evaluation.metrics]
    _logger.info(about)
    _logger.info(line(**{metric.log_name: evaluation.metrics[metric.name].value for metric in reported}))
    _logger.info(line(**{metric.baseline_name: evaluation.baseline[metric.name].value for metric in reported}))
