"""The command `train`: read, check what fits, fit, save, write the requests for all users."""

from __future__ import annotations

import difflib
import logging
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from factorbox.contract.hyperparameters import Hyperparameters, shown
from factorbox.contract.log_lines import configure_logging, line
from factorbox.contract.memory import memory_in_use, memory_limit
from factorbox.contract.paths import Paths
from factorbox.contract.processors import usable_processors
from factorbox.contract.stop_signal import JobStopped, StopSignal
from factorbox.data.columns import ReadOptions
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import AVAILABLE, ItemsInTraining
from factorbox.data.item_details_reading import read_items_channel
from factorbox.data.reading import ReadSummary, read_interactions
from factorbox.errors import AlgorithmError, FactorboxError, PlatformError, UserError
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Device, Epoch, Factors, Watch
from factorbox.options import check_ranges, option, options_of
from factorbox.requests_for_all import remove_requests, write_requests
from factorbox.writing import disk_errors

_logger = logging.getLogger(__name__)

_NOT_BUILT = ("softmax", "warp", "explicit", "nmf", "mlp")
_LOSSES = ("pointwise", "bpr", "hinge", "adaptive_hinge")
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Hyperparameters of the job as a whole."""

    algorithm: str | None = option(
        None, f"One of {', '.join(ALGORITHMS)}; {next(iter(ALGORITHMS))} where neither it nor loss is given."
    )
    loss: str | None = option(None, "Without algorithm: selects the algorithm of that name.", choices=_LOSSES)
    random_state: int = option(
        42,
        "Seed: the same seed, data and hyperparameters give the same bytes.",
        minimum=0,
        maximum=2**63 - 1,
        aliases=("seed",),
    )
    accelerator: str = option(
        "auto",
        "auto takes a GPU where there is one (the CUDA path is unmeasured); none is torch alone, without the numba"
        " kernels.",
        choices=("auto", "cpu", "cuda", "none"),
    )
    exclude_seen: bool = option(
        True, "Whether answers leave out the items of the user's training history, unless a request says otherwise."
    )
    write_requests: bool = option(True, "Whether to write requests for all users, below output/data/requests.")

    def __post_init__(self) -> None:
        check_ranges(self)

    def selected(self) -> Algorithm:
        """Return the algorithm that these options name.

        Raises
        ------
        UserError
            For an unknown algorithm, one that is not built yet, and a loss beside another algorithm.
        """
        name = next(iter(ALGORITHMS))
        if self.algorithm is not None or self.loss is not None:
            name = self.algorithm if self.algorithm is not None else str(self.loss)
        if self.loss not in (None, name):
            raise UserError(f"loss={self.loss} does not go with algorithm={shown(name)}: give one of them")
        if name in _NOT_BUILT:
            raise UserError(f"algorithm={name} is not built yet: give one of {', '.join(ALGORITHMS)}")
        if name not in ALGORITHMS:
            raise UserError(f"unknown algorithm {shown(name)}: give one of {', '.join(ALGORITHMS)}")
        return ALGORITHMS[name]


@dataclass(frozen=True)
class Job:
    """What a training job is asked to do."""

    options: JobOptions
    reading: ReadOptions
    algorithm: Algorithm
    config: Any

    def hyperparameters(self) -> dict[str, Any]:
        """Return every effective hyperparameter by name, for the log and the manifest."""
        return {**asdict(self.options), "algorithm": self.algorithm.name, **asdict(self.reading), **asdict(self.config)}


def read_job(raw: Mapping[str, Any]) -> Job:
    """Turn the content of hyperparameters.json into a job.

    Raises
    ------
    UserError
        For an unknown hyperparameter, a value that is none, and one that belongs to another algorithm.
    """
    given = Hyperparameters(raw)
    options = given.take(JobOptions)
    algorithm = options.selected()
    reading = given.take(ReadOptions)
    config = given.take(algorithm.config)
    given.refuse_rest(elsewhere=_of_other_algorithms(algorithm))
    return Job(options=options, reading=reading, algorithm=algorithm, config=config)


def _of_other_algorithms(selected: Algorithm) -> dict[str, str]:
    owners: dict[str, list[str]] = {}
    for algorithm in ALGORITHMS.values():
        for name, declared in options_of(algorithm.config).items():
            for spelling in (name, *declared.aliases):
                owners.setdefault(spelling, []).append(algorithm.name)
    return {
        name: f"hyperparameter {name} is not one of algorithm={selected.name}: it belongs to {', '.join(names)};"
        " remove it or choose another algorithm"
        for name, names in owners.items()
    }


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
    factors = _fit(job, interactions, threads=prepared.threads, device=prepared.device, should_stop=stop.is_set)
    size = artifact.save(
        paths.model,
        interactions=interactions,
        factors=factors,
        algorithm=job.algorithm.name,
        hyperparameters=job.hyperparameters(),
        metrics={"train_loss": factors.train_loss},
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
    interactions, summary = read_interactions(paths.channel(TRAINING_CHANNEL), options=job.reading, threads=threads)
    _log_data(job, interactions, summary)
    items = _read_items(paths.channel(ITEMS_CHANNEL), job, interactions)
    _check_memory(job, interactions)
    return _Prepared(_resolved(job, interactions), interactions, items, threads, device)


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
    if not job.algorithm.feedback(job.config).uses_weights:
        _logger.info("%s draws pairs uniformly: the weights in column %s are ignored", job.algorithm.name, column)
    if summary.looks_like_ratings and job.reading.min_rating is None:
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

    def needed(dimension: int) -> int:
        config = replace(job.config, embedding_dim=dimension)
        fit = job.algorithm.memory(
            users=interactions.n_users, items=interactions.n_items, pairs=interactions.n_pairs, config=config
        )
        return used + fit

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


def _fit(
    job: Job, interactions: Interactions, *, threads: int, device: Device, should_stop: Callable[[], bool]
) -> Factors:
    def on_epoch(epoch: Epoch) -> None:
        _logger.info(line(epoch=epoch.number, train_loss=epoch.train_loss, seconds=epoch.seconds))

    try:
        factors = job.algorithm.fit(
            interactions,
            config=job.config,
            random_state=job.options.random_state,
            threads=threads,
            device=device,
            watch=Watch(on_epoch=on_epoch, should_stop=should_stop),
        )
    except torch.OutOfMemoryError as error:
        raise PlatformError(
            f"the GPU ran out of memory ({str(error).splitlines()[0]}): lower embedding_dim or batch_size, or set"
            " accelerator to cpu"
        ) from None
    if factors.epochs == 0:
        raise AlgorithmError("training ended without a completed epoch: nothing was saved")
    if factors.epochs < job.config.epochs:
        _logger.warning("stopped early: %d of %d epochs", factors.epochs, job.config.epochs)
    return factors
