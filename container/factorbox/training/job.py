"""What a training job is asked to do: its hyperparameters, sorted by whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from factorbox.contract.hyperparameters import TUNING_OBJECTIVE, Hyperparameters, shown
from factorbox.data.columns import ReadOptions
from factorbox.data.filters import FilterOptions
from factorbox.errors import UserError
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm
from factorbox.options import check_ranges, option, options_of
from factorbox.training.epoch_measures import rated_by_config
from factorbox.training.gate import GateOptions, require_objective
from factorbox.training.hold_out import HoldOutOptions

_LEFT_OUT = ("warp",)
"""What users of other libraries ask for, and what measurement did not speak for."""

_SELECTING_LOSSES = ("pointwise", "bpr", "hinge", "adaptive_hinge", "softmax")
_RATING_LOSSES = ("squared", "regression", "logistic", "poisson")
_WITH_OWN_LOSS = tuple(name for name, algorithm in ALGORITHMS.items() if "loss" in options_of(algorithm.config))


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Hyperparameters of the job as a whole."""

    algorithm: str | None = option(
        None, f"One of {', '.join(ALGORITHMS)}; {next(iter(ALGORITHMS))} where neither it nor loss is given."
    )
    loss: str | None = option(
        None,
        f"Without algorithm: one of {', '.join(_SELECTING_LOSSES)} selects the algorithm of that name. With"
        f" {' or '.join(_WITH_OWN_LOSS)}: its own loss.",
        choices=(*_SELECTING_LOSSES, *_RATING_LOSSES),
    )
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
        True, "Whether answers leave out the items that a user has in the data, unless a request says otherwise."
    )
    write_requests: bool = option(True, "Whether to write requests for all users, below output/data/requests.")

    def __post_init__(self) -> None:
        check_ranges(self)

    def selected(self) -> Algorithm:
        """Return the algorithm that these options name.

        Raises
        ------
        UserError
            For an unknown algorithm, one that is left out, a loss beside an algorithm that has another or none to
            choose, and a loss of ratings without algorithm.
        """
        if self.algorithm is None and self.loss in _RATING_LOSSES:
            others = " or ".join(f"algorithm={name}" for name in _WITH_OWN_LOSS)
            raise UserError(f"loss={self.loss} alone selects no algorithm: give {others} with it")
        name = next(iter(ALGORITHMS))
        if self.algorithm is not None or self.loss is not None:
            name = self.algorithm if self.algorithm is not None else str(self.loss)
        if name in _LEFT_OUT:
            raise UserError(
                f"algorithm={name} is left out, since it never ranked as well as adaptive_hinge: give one of"
                f" {', '.join(ALGORITHMS)}"
            )
        if name not in ALGORITHMS:
            raise UserError(f"unknown algorithm {shown(name)}: give one of {', '.join(ALGORITHMS)}")
        if self.loss not in (None, name) and name not in _WITH_OWN_LOSS:
            raise UserError(f"loss={self.loss} does not go with algorithm={shown(name)}: give one of them")
        return ALGORITHMS[name]


@dataclass(frozen=True)
class Job:
    """What a training job is asked to do."""

    options: JobOptions
    reading: ReadOptions
    filters: FilterOptions
    hold_out: HoldOutOptions
    gate: GateOptions
    algorithm: Algorithm
    config: Any
    tuning_objective: str | None = None
    """The metric by which a tuning job compares this job with others."""
    asked: Any = None
    """The configuration as it was given, where `config` is the resolved one; otherwise None."""

    def hyperparameters(self) -> dict[str, Any]:
        """Return every effective hyperparameter by name, for the log and the manifest."""
        return {
            **asdict(self.options),
            "algorithm": self.algorithm.name,
            **asdict(self.reading),
            **asdict(self.filters),
            **asdict(self.hold_out),
            **asdict(self.gate),
            **asdict(self.config),
        }

    @property
    def predicts_ratings(self) -> bool:
        """Whether the model predicts ratings, so that its errors are measured too."""
        return rated_by_config(self.algorithm, self.config) is not None

    def check_metrics(self) -> None:
        """Raise `UserError` where the gate or a tuning job asks for a metric that this job will not have."""
        self.gate.check_kind(predicts_ratings=self.predicts_ratings)
        self.require_measured("validation=none holds nothing out" if self.hold_out.validation == "none" else None)

    def require_measured(self, unmeasured: str | None) -> None:
        """Raise `UserError` where nothing is measured, for the reason given, and the gate or a tuning job needs it."""
        if unmeasured is not None and self.gate.is_set:
            raise UserError(
                f"{self.gate.as_given} cannot be judged: {unmeasured}. To publish without it, leave the gate out"
            )
        require_objective(self.tuning_objective, predicts_ratings=self.predicts_ratings, unmeasured=unmeasured)


OPTIONS: tuple[type[Any], ...] = (JobOptions, ReadOptions, FilterOptions, HoldOutOptions, GateOptions)
"""The configurations of every job, beside that of its algorithm."""


def read_job(raw: Mapping[str, Any]) -> Job:
    """Turn the content of hyperparameters.json into a job.

    Raises
    ------
    UserError
        For an unknown hyperparameter, a value that is none, one of another algorithm, and those that do not
        go together.
    """
    given = Hyperparameters(raw)
    options = given.take(JobOptions)
    algorithm = options.selected()
    job = Job(
        options=options,
        reading=given.take(ReadOptions),
        filters=given.take(FilterOptions),
        hold_out=given.take(HoldOutOptions),
        gate=given.take(GateOptions),
        algorithm=algorithm,
        config=given.take(algorithm.config),
        tuning_objective=_text_or_none(raw.get(TUNING_OBJECTIVE)),
    )
    given.refuse_rest(elsewhere=_of_other_algorithms(algorithm))
    job.filters.for_reading(job.reading)
    job.check_metrics()
    return job


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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
