"""The epochs of an algorithm that learns by mini-batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from factorbox.models.base import Epoch, Factors, Watch


def fitted_by_epochs(
    sweep: Callable[[int, Watch], float | None],
    factors: Callable[[int, float], Factors],
    *,
    epochs: int,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Sweep over the data until all epochs are completed, or the watch ends the training.

    Parameters
    ----------
    sweep
        Takes the number of the epoch, from 1, and a watch; returns the mean loss, or None where the watch ended the
        sweep early. The first sweep is never ended: there is no training without a completed one.
    factors
        Takes the number of completed epochs and the loss of the last, and returns the model as it stands.
    epochs
        How many there are to be, beside those of the start.
    start
        What the training goes on from; numbers of epochs go on, too.
    """
    completed, train_loss = (0, math.nan) if start is None else (start.epochs, start.train_loss)
    last = completed + epochs
    while completed < last and not (completed and watch.should_stop()):
        started = time.perf_counter()
        mean_loss = sweep(completed + 1, watch if completed else Watch())
        if mean_loss is None:
            break
        completed, train_loss = completed + 1, mean_loss
        snapshot = partial(factors, completed, train_loss)
        watch.on_epoch(Epoch(completed, train_loss, time.perf_counter() - started, snapshot))
    return factors(completed, train_loss)
