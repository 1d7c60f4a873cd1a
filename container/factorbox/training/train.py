"""The command `train`: read, fit, measure, pass the gate, save, write the requests for all users, report."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from factorbox import artifact, kernels
from factorbox.contract.failure import clear_failure, write_failure
from factorbox.contract.log_lines import configure_logging, line
from factorbox.contract.memory import memory_limit
from factorbox.contract.paths import Paths
from factorbox.contract.stop_signal import JobStopped, StopSignal
from factorbox.data.memory import release_unused_memory
from factorbox.errors import FactorboxError, UserError
from factorbox.evaluation.records import as_record
from factorbox.manifest import MANIFEST
from factorbox.recommender import Recommender
from factorbox.report.inputs import ReportInputs
from factorbox.report.writing import remove_report, write_failed_report, write_report
from factorbox.training.fitting import Fitting
from factorbox.training.measured_training import Fitted, Measured, MeasuredTraining
from factorbox.training.preparing import Prepared, prepare
from factorbox.training.requests_for_all import remove_requests, write_requests
from factorbox.writing import partial_folder

_logger = logging.getLogger(__name__)

_GIB = 2**30


def main() -> int:
    """Run the job of the environment's base folder and return the exit code."""
    configure_logging()
    stop = StopSignal()
    stop.install()
    paths = Paths.from_environment()
    clear_failure(paths.failure)
    try:
        train(paths, stop=stop)
    except FactorboxError as error:
        reason = str(error)
    except JobStopped:
        reason = "the job was stopped before its first epoch: nothing was saved"
    except Exception as error:
        if _is_out_of_memory(error):
            reason = (
                f"the job ran out of memory (limit {memory_limit() / _GIB:.1f} GiB): take a larger instance, or give"
                " fewer rows or a smaller embedding_dim"
            )
        else:
            traceback.print_exc()
            reason = f"a fault of factorbox: {type(error).__name__}: {error}. Please report it with the log of this job"
    else:
        return 0
    _logger.error("failed: %s", reason)
    write_failure(paths.failure, reason=reason)
    return 1


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch says so in a RuntimeError like any other."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def train(paths: Paths, *, stop: StopSignal) -> None:
    """Train the model of a base folder.

    Raises
    ------
    FactorboxError
        Where no model was saved, or the requests could not be written.
    JobStopped
        Where a signal came before there was anything to save.
    """
    started = time.perf_counter()
    with stop.ends_at_once():
        prepared = prepare(paths)
    # That of an earlier training in the same folder.
    remove_report(paths.output_data)
    seconds = {"reading": time.perf_counter() - started}
    job, interactions = prepared.job, prepared.interactions
    fitting = Fitting(job, threads=prepared.threads, device=prepared.device, should_stop=stop.is_set)
    items = prepared.items
    whole = MeasuredTraining(fitting, available=None if items is None else items.available)
    measured = whole.measured(interactions, outside=prepared.outside)
    seconds |= measured.seconds
    _require_gate(paths, prepared, measured, seconds=seconds)
    release_unused_memory()
    fitted = whole.finished(measured, interactions)
    seconds |= fitted.seconds

    started = time.perf_counter()
    size = _save(paths.model, prepared, measured, fitted)
    seconds["saving"] = time.perf_counter() - started
    _logger.info(kernels.summary())
    _logger.info(line(saved=paths.model, bytes=size, epochs=fitted.factors.epochs))
    requests = paths.output_data / "requests"
    if job.options.write_requests:
        parts = write_requests(requests, user_ids=interactions.user_ids)
        _logger.info(line(requests=requests, parts=parts))
    else:
        remove_requests(requests)
    _logger.info(line(**{f"{name}_seconds": value for name, value in seconds.items()}))
    inputs = _report_inputs(prepared, measured, fitted)
    # The report reads the saved model: by then the interactions need not be in memory twice.
    del prepared, interactions, items, whole, fitting, measured, fitted
    release_unused_memory()
    _report(paths, inputs, model=paths.model, seconds=seconds)


def _require_gate(paths: Paths, prepared: Prepared, measured: Measured, *, seconds: Mapping[str, float]) -> None:
    """Refuse a model that is not good enough; the report of it tells more."""
    if measured.evaluation is None:
        return
    job = prepared.job
    failures = job.gate.failures(measured.evaluation, predicts_ratings=job.predicts_ratings)
    if not failures:
        return
    fitted = Fitted(
        measured.factors,
        prepared.interactions if measured.hold_out is None else measured.hold_out.training,
        None,
        f"{measured.about} It did not pass the publish gate and was not saved.",
    )
    try:
        # Where a model has room; it is gone when this is over.
        with partial_folder(paths.model) as folder:
            _save(folder / "model", prepared, measured, fitted)
            _report(paths, _report_inputs(prepared, measured, fitted), model=folder / "model", seconds=seconds)
    except (FactorboxError, OSError) as error:
        _logger.error("there is no report: %s", error)
    earlier = "; the model in the folder is of an earlier job" if (paths.model / MANIFEST).exists() else ""
    raise UserError(
        "the model did not pass the publish gate and was not saved (report.html in the job's output tells more; change"
        f" hyperparameters, data or the gate{earlier}): {'; '.join(failures)}"
    )


def _save(folder: Path, prepared: Prepared, measured: Measured, fitted: Fitted) -> int:
    """Write a model with what is known of its quality; return its bytes."""
    job, items, factors = measured.job, prepared.items, fitted.factors
    validation: dict[str, Any] = {"measured": fitted.about}
    metrics = {"train_loss": factors.train_loss, **factors.metrics}
    if measured.evaluation is not None and measured.hold_out is not None:
        validation |= {
            "method": measured.hold_out.method,
            "epoch": measured.factors.epochs,
            "curve_users": measured.curve_users,
            "model_has_seen_them": fitted.has_learned_all,
            **as_record(measured.evaluation),
        }
        metrics |= {f"validation:{name}": estimate.value for name, estimate in measured.evaluation.metrics.items()}
    return artifact.save(
        folder,
        interactions=fitted.trained_on,
        factors=factors,
        algorithm=job.algorithm.name,
        hyperparameters=job.hyperparameters(),
        metrics=metrics,
        available=items.available if items is not None else None,
        item_details=items.details if items is not None else None,
        held_out=fitted.unlearned,
        record={
            "validation": validation,
            "learning_curve": [
                {"epoch": point.epoch, "train_loss": point.train_loss, **point.metrics} for point in measured.curve
            ],
        },
    )


def _report_inputs(prepared: Prepared, measured: Measured, fitted: Fitted) -> Callable[..., ReportInputs]:
    """Return what makes the report's inputs, given the model and the seconds; it holds no training data."""
    return partial(
        ReportInputs,
        evaluation=measured.evaluation,
        measured=fitted.about,
        has_learned_all=fitted.has_learned_all,
        held_out=None if measured.hold_out is None else measured.hold_out.held_out,
        curve=measured.curve,
        curve_users=measured.curve_users,
        activity=prepared.activity,
    )


def _report(paths: Paths, inputs: Callable[..., ReportInputs], *, model: Path, seconds: Mapping[str, float]) -> None:
    """Write the report; the model is safe by now, and whatever goes wrong here is only said."""
    try:
        write_report(paths.output_data, inputs(model=Recommender.load(model), seconds=seconds))
    except FactorboxError as error:
        _logger.error("there is no report: %s", error)
        write_failed_report(paths.output_data, why=str(error))
    except Exception as error:
        _logger.exception("there is no report: %s", error)
        write_failed_report(paths.output_data, why=f"{type(error).__name__}: {error}")
