"""One fitting of a job's algorithm: a log line an epoch, ended where it is enough, and how it ended in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from factorbox.contract.log_lines import line
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, PlatformError
from factorbox.models.als_config import ALSConfig
from factorbox.models.base import Device, Epoch, Factors, Watch
from factorbox.report.inputs import CurvePoint
from factorbox.training.job import Job
from factorbox.training.trials import Trials

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitting:
    """How a job fits.

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

    def tried(self, interactions: Interactions) -> Fitting:
        """Choose by short fits what the job leaves open and rules alone do not settle; see `factorbox.training.trials`.

        Parameters
        ----------
        interactions
            What is trained on.
        """
        asked, config = self.job.asked, self.job.config
        if not isinstance(asked, ALSConfig):
            return self
        trials = Trials(self.job.options.random_state, self.threads, self.device, self.should_stop)
        return replace(
            self, job=replace(self.job, config=trials.chosen(config, asked=asked, interactions=interactions))
        )

    def fit(
        self,
        interactions: Interactions,
        *,
        config: Any = None,
        at_most: int | None = None,
        is_over: Callable[[], bool] = lambda: False,
        measured: Callable[[Epoch], Mapping[str, float]] | None = None,
        start: Factors | None = None,
        logs_as: str = "epoch",
    ) -> tuple[Factors, tuple[CurvePoint, ...]]:
        """Fit once, with a log line an epoch; return the model and every epoch.

        Parameters
        ----------
        config
            The job's own unless another is given.
        at_most
            Epochs after which it ends, if there are more.
        is_over
            Whether the epochs so far are enough.
        measured
            Tells what else is known of an epoch.
        start
            A model to go on from.
        logs_as
            What a log line calls the number of an epoch.

        Raises
        ------
        AlgorithmError
            Where no epoch was completed, or the loss stopped being finite.
        PlatformError
            Where the GPU ran out of memory.
        """
        points: list[CurvePoint] = []

        def on_epoch(epoch: Epoch) -> None:
            metrics = {} if measured is None else measured(epoch)
            points.append(CurvePoint(epoch.number, epoch.train_loss, metrics))
            number = {logs_as: epoch.number}
            _logger.info(line(**number, train_loss=epoch.train_loss, **epoch.details, **metrics, seconds=epoch.seconds))

        try:
            factors = self.job.algorithm.fit(
                interactions,
                config=self.job.config if config is None else config,
                random_state=self.job.options.random_state,
                threads=self.threads,
                device=self.device,
                watch=Watch(
                    on_epoch=on_epoch,
                    should_stop=lambda: self.should_stop() or is_over() or len(points) == at_most,
                ),
                start=start,
            )
        except torch.OutOfMemoryError as error:
            raise PlatformError(
                f"the GPU ran out of memory ({str(error).splitlines()[0]}): lower embedding_dim or batch_size, or set"
                " accelerator to cpu"
            ) from None
        if factors.epochs == 0:
            raise AlgorithmError("training ended without a completed epoch: nothing was saved")
        return factors, tuple(points)

    def report_end(self, factors: Factors, *, cut: bool) -> None:
        """Say how a training ended; `cut` where it was to end before all epochs."""
        if factors.metrics:
            _logger.info(line(**factors.metrics))
        if factors.converged:
            _logger.info("converged after %d of %d epochs", factors.epochs, self.epochs)
        elif self.should_stop() and factors.epochs < self.epochs:
            _logger.warning("stopped early: %d of %d epochs", factors.epochs, self.epochs)
        elif factors.converged is False and not cut:
            _logger.warning("not converged after %d epochs: raise epochs or tol", factors.epochs)

    @property
    def epochs(self) -> int:
        """Epochs that the job asks for."""
        return int(self.job.config.epochs)
