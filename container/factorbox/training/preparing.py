"""All that comes before a training: the job and its data are read, and whatever can be refused is refused."""

from __future__ import annotations

import difflib
import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from factorbox.contract.config_files import (
    ITEMS_CHANNEL,
    TRAINING_CHANNEL,
    VALIDATION_CHANNELS,
    read_json_object,
    refuse_pipe_mode,
    refuse_several_hosts,
)
from factorbox.contract.log_lines import line
from factorbox.contract.memory import memory_in_use, memory_limit
from factorbox.contract.paths import Paths
from factorbox.contract.processors import usable_processors
from factorbox.data.activity import Activity
from factorbox.data.filters import apply_filters
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import AVAILABLE, ItemsInTraining
from factorbox.data.item_details_reading import read_items_channel
from factorbox.data.outside import OutsidePairs, outside_pairs
from factorbox.data.reading import ReadSummary, read_interactions
from factorbox.data.splits import split_memory
from factorbox.errors import PlatformError, UserError
from factorbox.models.base import Device
from factorbox.training.job import Job, read_job
from factorbox.writing import disk_errors

_logger = logging.getLogger(__name__)

_GIB = 2**30


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that training and saving need.

    Attributes
    ----------
    job
        With every default that depends on the data filled in.
    interactions
        The channel `training`, filtered.
    activity
        Its rows by day; None without times.
    items
        The channel `items`; None where there is none.
    outside
        The channel `validation`; None where there is none, or it is not wanted.
    threads, device
        Where it runs.
    """

    job: Job
    interactions: Interactions
    activity: Activity | None
    items: ItemsInTraining | None
    outside: OutsidePairs | None
    threads: int
    device: Device


def prepare(paths: Paths) -> Prepared:
    """Do all that can be refused: read the job and its data, and check that it can run and be saved.

    Raises
    ------
    UserError
        For a hyperparameter, a file or an id that is wrong; the message names it, its place and the remedy.
    PlatformError
        Where something cannot be read or written, or memory does not suffice.
    """
    job = read_job(read_json_object(paths.hyperparameters, example='{"epochs": "20"}'))
    refuse_pipe_mode(read_json_object(paths.input_data_config))
    refuse_several_hosts(read_json_object(paths.resource_config))
    threads = usable_processors()
    device = _device(job.options.accelerator)
    _logger.info(line(**{name: value for name, value in job.hyperparameters().items() if value is not None}))
    _logger.info(line(processors=threads, accelerator=device))
    validation_channel = _validation_channel(paths, job)
    for folder in (paths.model, paths.output_data):
        _check_writable(folder)
    interactions, activity = _read_training(paths.channel(TRAINING_CHANNEL), job, threads=threads)
    items = _read_items(paths.channel(ITEMS_CHANNEL), job, interactions)
    outside = None
    if validation_channel is not None:
        outside = _read_validation(validation_channel, job, interactions, threads=threads)
    _check_memory(job, interactions, device=device)
    return Prepared(_resolved(job, interactions), interactions, activity, items, outside, threads, device)


def _validation_channel(paths: Paths, job: Job) -> Path | None:
    """Find the channel that a model is to be measured by."""
    given = [name for name in VALIDATION_CHANNELS if paths.channel(name).exists()]
    if not given:
        return None
    if job.hold_out.validation == "none":
        _logger.info("validation=none: the channel %s is not read", given[0])
        return None
    if len(given) > 1:
        raise UserError(f"the channels {' and '.join(given)} are both there: a model is measured by one, so give one")
    if job.hold_out.validation is not None:
        raise UserError(
            f"validation={job.hold_out.validation} holds interactions of the training data out, and there is a channel"
            f" {given[0]} to measure by: leave one of them out"
        )
    return paths.channel(given[0])


def _read_validation(channel: Path, job: Job, interactions: Interactions, *, threads: int) -> OutsidePairs:
    """Read the channel of held-out interactions, and say how much of it is of use."""
    read, summary = read_interactions(
        channel,
        options=job.filters.for_reading(job.reading),
        feedback=job.algorithm.feedback(job.config),
        threads=threads,
        with_folder=True,
    )
    outside = outside_pairs(
        read, user_ids=interactions.user_ids, item_ids=interactions.item_ids, trained=interactions.by_user()
    )
    _logger.info(
        line(
            validation_channel=channel.name,
            validation_files=summary.files,
            validation_rows=summary.rows,
            validation_dropped_below_min_rating=summary.dropped_below_min_rating,
            validation_repeated_rows=summary.repeated_rows,
            usable_pairs=len(outside.pairs),
            unknown_users=outside.unknown_users,
            unknown_items=outside.unknown_items,
            pairs_of_unknown=outside.pairs_of_unknown,
            pairs_in_training=outside.pairs_in_training,
        )
    )
    return outside


def _read_training(channel: Path, job: Job, *, threads: int) -> tuple[Interactions, Activity | None]:
    """Read the interactions and filter them, and say what is there; also return the rows by day."""
    interactions, summary = read_interactions(
        channel,
        options=job.filters.for_reading(job.reading),
        feedback=job.algorithm.feedback(job.config),
        threads=threads,
        keep_times=job.hold_out.needs_times,
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
    return filtered, summary.activity


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
    _logger.info(
        line(
            files=summary.files,
            rows=summary.rows,
            dropped_below_min_rating=summary.dropped_below_min_rating,
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
    resolved = replace(job, config=job.algorithm.resolved(job.config, interactions=interactions), asked=job.config)
    before = job.hyperparameters()
    filled_in = {name: value for name, value in resolved.hyperparameters().items() if value != before[name]}
    if filled_in:
        _logger.info(line(**filled_in))
    return resolved


def _check_memory(job: Job, interactions: Interactions, *, device: Device) -> None:
    """Refuse a job that cannot fit, and name the largest dimension that would."""
    limit, used = memory_limit(), memory_in_use()
    users, items, pairs = interactions.n_users, interactions.n_items, interactions.n_pairs
    beside, held_out = 0, 0
    if job.hold_out.validation != "none":
        # A copy of the best model so far.
        beside = int(job.hold_out.patience is not None)
        held_out = split_memory(
            users=users,
            items=items,
            pairs=pairs,
            most_users=job.hold_out.validation_users,
            times=interactions.times is not None,
        )

    def needed(dimension: int) -> int:
        config = replace(job.config, embedding_dim=dimension)
        training = job.algorithm.memory(users=users, items=items, pairs=pairs, config=config, device=device)
        return used + held_out + beside * 4 * (dimension + 1) * (users + items) + training

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
