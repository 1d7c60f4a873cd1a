"""Fitting the model of a job: a log line an epoch, and measured by held-out pairs where some are held out.

With a hold-out a model is trained twice: without the held-out pairs, which tells how many epochs are best, and then
from the beginning on all pairs, so that no history lacks anything. The second training takes the same steps as one on
all pairs from the start: where patience ended the first, it ends after the best epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from factorbox.contract.log_lines import line
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Split, random_split
from factorbox.errors import AlgorithmError, PlatformError, UserError
from factorbox.job import Job
from factorbox.models.base import Device, Epoch, Factors, Watch
from factorbox.validation import Progress, measure_of

_logger = logging.getLogger(__name__)

_FEWEST_PAIRS = 100


@dataclass(frozen=True)
class Fitting:
    """One job's fitting.

    Attributes
    ----------
    job
        With the resolved configuration.
    threads, device
        Where it runs.
    should_stop
        Whether the job was told to stop.
    """

    job: Job
    threads: int
    device: Device
    should_stop: Callable[[], bool]

    def fit(self, interactions: Interactions) -> Factors:
        """Fit the model of the job.

        A job that is told to stop ends with the model as it stands; while pairs are held out, that is the model
        without them.

        Raises
        ------
        AlgorithmError
            Where no epoch was completed.
        PlatformError
            Where the GPU ran out of memory.
        """
        split = self._split(interactions)
        if split is None:
            return self._reported(self._fit(interactions, is_over=_never), cut=False)
        options = self.job.validation
        measure = measure_of(
            self.job.algorithm,
            self.job.config,
            split=split,
            random_state=self.job.options.random_state,
            threads=self.threads,
        )
        progress = Progress(measure, patience=options.patience)
        factors = self._fit(split.training, is_over=lambda _: progress.is_over, measured=progress.add)
        if self.should_stop():
            _logger.warning(
                "the job was told to stop while pairs were held out: the model has not seen those %d pairs",
                len(split.held_out),
            )
            return self._reported(_with_metrics(factors, progress), cut=False)
        self._log_best(progress)
        last = None if options.patience is None else progress.best_epoch
        _logger.info("training anew on all pairs")
        factors = self._fit(interactions, is_over=lambda epochs: epochs == last)
        return self._reported(_with_metrics(factors, progress), cut=last is not None)

    def _split(self, interactions: Interactions) -> Split | None:
        """Hold pairs out where the job asks for it and the data can spare some."""
        options = self.job.validation
        if options.validation == "none":
            return None
        if interactions.n_pairs < _FEWEST_PAIRS:
            _logger.warning(
                "validation=%s is left out: there are %d pairs, and below %d a few that are held out tell nothing",
                options.validation,
                interactions.n_pairs,
                _FEWEST_PAIRS,
            )
            return None
        split = random_split(
            interactions, fraction=options.validation_fraction, random_state=self.job.options.random_state
        )
        if not len(split.held_out):
            _logger.warning(
                "validation=%s is left out: no pair can be held out without taking a user's or an item's only one",
                options.validation,
            )
            return None
        try:
            self.job.algorithm.resolved(self.job.config, interactions=split.training)
        except UserError as error:
            # All pairs suited the job; what is left without some does not, as where the only like is held out.
            _logger.warning("validation=%s is left out: without the held-out pairs, %s", options.validation, error)
            return None
        _logger.info(line(validation=options.validation, held_out_pairs=len(split.held_out)))
        return split

    def _fit(
        self,
        interactions: Interactions,
        *,
        is_over: Callable[[int], bool],
        measured: Callable[[Factors], Mapping[str, float]] | None = None,
    ) -> Factors:
        """Fit once; `is_over` says whether so many completed epochs are enough, `measured` what else is logged."""
        completed = 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal completed
            completed = epoch.number
            metrics = {} if measured is None else measured(epoch.snapshot())
            _logger.info(
                line(epoch=epoch.number, train_loss=epoch.train_loss, **epoch.details, **metrics, seconds=epoch.seconds)
            )

        try:
            factors = self.job.algorithm.fit(
                interactions,
                config=self.job.config,
                random_state=self.job.options.random_state,
                threads=self.threads,
                device=self.device,
                watch=Watch(on_epoch=on_epoch, should_stop=lambda: self.should_stop() or is_over(completed)),
            )
        except torch.OutOfMemoryError as error:
            raise PlatformError(
                f"the GPU ran out of memory ({str(error).splitlines()[0]}): lower embedding_dim or batch_size, or set"
                " accelerator to cpu"
            ) from None
        if factors.epochs == 0:
            raise AlgorithmError("training ended without a completed epoch: nothing was saved")
        return factors

    def _log_best(self, progress: Progress) -> None:
        best, epochs = progress.best_epoch, progress.epochs
        _logger.info(line(best_epoch=best, epochs=epochs, **progress.objective_of(best)))
        if progress.is_over:
            _logger.info("stopped early: %d of %d epochs, the last %d no better", epochs, self._epochs, epochs - best)
        elif best < epochs:
            _logger.info("epochs after the best one may overfit: set patience, or epochs to %d", best)

    def _reported(self, factors: Factors, *, cut: bool) -> Factors:
        """Say how the training ended; `cut` where it was to end before all epochs."""
        if factors.metrics:
            _logger.info(line(**factors.metrics))
        if factors.converged:
            _logger.info("converged after %d of %d epochs", factors.epochs, self._epochs)
        elif self.should_stop() and factors.epochs < self._epochs:
            _logger.warning("stopped early: %d of %d epochs", factors.epochs, self._epochs)
        elif factors.converged is False and not cut:
            _logger.warning("not converged after %d epochs: raise epochs or tol", factors.epochs)
        return factors

    @property
    def _epochs(self) -> int:
        return int(self.job.config.epochs)


def _never(epochs: int) -> bool:
    return False


def _with_metrics(factors: Factors, progress: Progress) -> Factors:
    return replace(factors, metrics={**factors.metrics, **progress.of_model(factors.epochs)})
