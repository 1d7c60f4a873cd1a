"""The command `train`: read, check what fits, fit, save, write the requests for all users."""

from __future__ import annotations

import difflib
import logging
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from factorbox import artifact, kernels
from factorbox.contract.config_files import (
    ITEMS_CHANNEL,
    TRAINING_CHANNEL,
    read_json_object,
    refuse_pipe_mode,
    refuse_several_hosts,
)
from factorbox.contract.failure import clear_failure, write_failure
from factorbox.contract.log_lines import configure_logging, line
from factorbox.contract.memory import memory_in_use, memory_limit
from factorbox.contract.paths import Paths
from factorbox.contract.processors import usable_processors
from factorbox.contract.stop_signal import JobStopped, StopSignal
from factorbox.data.filters import apply_filters
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import AVAILABLE, ItemsInTraining
from factorbox.data.item_details_reading import read_items_channel
from factorbox.data.reading import ReadSummary, read_interactions
from factorbox.data.splits import split_memory
from factorbox.errors import FactorboxError, PlatformError, UserError
from factorbox.fitting import Fitting
from factorbox.job import Job, read_job
from factorbox.models.base import Device
from factorbox.requests_for_all import remove_requests, write_requests
from factorbox.writing import disk_errors

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
    with stop.ends_at_once():
        prepared = _prepare(paths)
    job, interactions, items = prepared.job, prepared.interactions, prepared.items
    fitting = Fitting(job, threads=prepared.threads, device=prepared.device, should_stop=stop.is_set)
    factors = fitting.fit(interactions)
    size = artifact.save(
        paths.model,
        interactions=interactions,
        factors=factors,
        algorithm=job.algorithm.name,
        hyperparameters=job.hyperparameters(),
        metrics={"train_loss": factors.train_loss, **factors.metrics},
        available=items.available if items is not None else None,
        item_details=items.details if items is not None else None,
    )
    _logger.info(kernels.summary())
    _logger.info(line(saved=paths.model, bytes=size, epochs=factors.epochs))
    requests = paths.output_data / "requests"
    if job.options.write_requests:
        parts = write_requests(requests, user_ids=interactions.user_ids)
        _logger.info(line(requests=requests, parts=parts))
    else:
        remove_requests(requests)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """All that training and saving need; `items` is None without a channel of items."""

    job: Job
    interactions: Interactions
    items: ItemsInTraining | None
    threads: int
    device: Device


def _prepare(paths: Paths) -> _Prepared:
    """Do all that can be refused: read the job and its data, and check that it can run and be saved."""
    job = read_job(read_json_object(paths.hyperparameters, example='{"epochs": "16"}'))
    refuse_pipe_mode(read_json_object(paths.input_data_config))
    refuse_several_hosts(read_json_object(paths.resource_config))
    threads = usable_processors()
    device = _device(job.options.accelerator)
    _logger.info(line(**{name: value for name, value in job.hyperparameters().items() if value is not None}))
    _logger.info(line(processors=threads, accelerator=device))

    for folder in (paths.model, paths.output_data) if job.options.write_requests else (paths.model,):
        _check_writable(folder)
    interactions = _read_training(paths.channel(TRAINING_CHANNEL), job, threads=threads)
    items = _read_items(paths.channel(ITEMS_CHANNEL), job, interactions)
    _check_memory(job, interactions)
    return _Prepared(_resolved(job, interactions), interactions, items, threads, device)


def _read_training(channel: Path, job: Job, *, threads: int) -> Interactions:
    """Read the interactions and filter them, and say what is there."""
    interactions, summary = read_interactions(
        channel,
        options=job.filters.for_reading(job.reading),
        feedback=job.algorithm.feedback(job.config),
        threads=threads,
    )
    _log_data(job, interactions, summary)
    filtered, kept = apply_filters(
        interactions,
        options=job.filters,
        min_rating=job.reading.min_rating,
        has_weights="weight" in summary.columns,
    )
    if kept is not None:
        for one in kept.each:
            name, _, value = one.condition.partition("=")
            _logger.info(
                line(filter=name, value=value, kept_pairs=one.pairs, kept_users=one.users, kept_items=one.items)
            )
        total = kept.total
        _logger.info(line(filters=job.filters.filters, pairs=total.pairs, users=total.users, items=total.items))
    return filtered


def _read_items(channel: Path, job: Job, interactions: Interactions) -> ItemsInTraining | None:
    """Read what is known of the items, and say how much of it is of use."""
    rows = read_items_channel(channel, options=job.reading)
    if rows is None:
        return None
    items = rows.for_items(interactions.item_ids)
    # Names of their own: a pipeline finds rows=… and items=… of the interactions in the log.
    _logger.info(
        line(
            item_files=rows.files,
            item_rows=rows.rows,
            items_matched=items.matched,
            items_without_row=interactions.n_items - items.matched,
            unknown_items=items.unknown,
            unavailable_items=items.unavailable,
            item_columns=len(rows.columns),
        )
    )
    near = difflib.get_close_matches(AVAILABLE, rows.columns, n=1, cutoff=0.8)
    if rows.available is None and near:
        _logger.warning("column %s is kept as a text: name it %s to leave items out of answers", near[0], AVAILABLE)
    if not items.matched:
        _logger.warning(
            "no item of the channel %s is in the training data, so it has no effect: ids are compared as text, and 7"
            " is not 007",
            channel.name,
        )
    return items


def _check_writable(folder: Path) -> None:
    """Find out before hours of work, not after, that a result cannot be written."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")


def _device(accelerator: str) -> Device:
    """Choose where to train, and say so where a GPU is left unused."""
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("accelerator=cuda, and torch finds no GPU: use a GPU instance and an image with CUDA, or auto")
    if torch.version.cuda is None and Path("/dev/nvidia0").exists():
        _logger.warning(
            "there is a GPU, and this image has a torch without CUDA: build it with --build-arg TORCH_INDEX=... (see"
            " the README) to use it"
        )
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return accelerator  # type: ignore[return-value]


def _log_data(job: Job, interactions: Interactions, summary: ReadSummary) -> None:
    dropped = summary.dropped_below_min_rating
    _logger.info(
        line(
            files=summary.files,
            rows=summary.rows,
            dropped_below_min_rating=dropped,
            repeated_rows=summary.repeated_rows,
            pairs=interactions.n_pairs,
            users=interactions.n_users,
            items=interactions.n_items,
            **{f"{role}_column": ",".join(names) for role, names in summary.columns.items()},
        )
    )
    if summary.first_time is not None and summary.last_time is not None:
        _logger.info(line(first=summary.first_time.isoformat(), last=summary.last_time.isoformat()))
    if summary.smallest_weight is None or summary.smallest_weight == summary.largest_weight:
        return
    column = ",".join(summary.columns["weight"])
    feedback = job.algorithm.feedback(job.config)
    if not feedback.uses_weights:
        _logger.info("%s draws pairs uniformly: the weights in column %s are ignored", job.algorithm.name, column)
    if feedback.kind == "implicit" and summary.looks_like_ratings and job.reading.min_rating is None:
        _logger.warning(
            "column %s looks like ratings: training is implicit, so low ratings count as weak positives; set min_rating"
            " to drop them",
            column,
        )


def _resolved(job: Job, interactions: Interactions) -> Job:
    """Fill in the hyperparameters that depend on the data, and log those."""
    resolved = replace(job, config=job.algorithm.resolved(job.config, interactions=interactions))
    before = job.hyperparameters()
    filled_in = {name: value for name, value in resolved.hyperparameters().items() if value != before[name]}
    if filled_in:
        _logger.info(line(**filled_in))
    return resolved


def _check_memory(job: Job, interactions: Interactions) -> None:
    """Refuse a job that cannot fit, and name the largest dimension that would."""
    limit, used = memory_limit(), memory_in_use()
    extent = dict(users=interactions.n_users, items=interactions.n_items, pairs=interactions.n_pairs)
    held_out = 0 if job.validation.validation == "none" else split_memory(**extent)

    def needed(dimension: int) -> int:
        config = replace(job.config, embedding_dim=dimension)
        return used + held_out + job.algorithm.memory(**extent, config=config)

    dimension = job.config.embedding_dim
    _logger.info(line(memory_needed_gib=needed(dimension) / _GIB, memory_limit_gib=limit / _GIB))
    if needed(dimension) <= limit:
        return
    fitting, too_large = 0, dimension
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        fitting, too_large = (middle, too_large) if needed(middle) <= limit else (fitting, middle)
    remedy = f"set embedding_dim to {fitting} or less" if fitting else "even embedding_dim=1 does not fit"
    raise PlatformError(
        f"training with embedding_dim={dimension} needs about {needed(dimension) / _GIB:.1f} GiB and the container may"
        f" use {limit / _GIB:.1f} GiB: {remedy}, or take an instance with more memory"
    )
