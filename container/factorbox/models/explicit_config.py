"""Configuration of `explicit`.

The defaults were chosen by `local_test/benchmarks/choose_defaults.py`. Of settings within a thousandth of the best,
the one with the larger learning rate was taken: data of a few thousand ratings give few steps an epoch.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from factorbox.errors import UserError
from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.models.rating_losses import like_above_option, rating_loss
from factorbox.options import check_ranges, option

DEFAULT_EPOCHS = 20
"""Epochs at a constant learning rate."""

_FREQUENCY_OFFSET = 50.0
"""n₀, chosen by measurement like the defaults."""

_MOST_EPOCHS = 100_000
_STAGE = re.compile(r"\s*(?P<rate>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*([x×]\s*(?P<epochs>\d{1,9})\s*)?", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """Learning rates by epoch.

    Attributes
    ----------
    stages
        (learning rate, epochs) in their order; a constant rate is one stage without a number of epochs.
    """

    stages: tuple[tuple[float, int | None], ...]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `0.05`, or `0.05x20,0.01x10`: 20 epochs at 0.05 and then 10 at 0.01.

        Raises
        ------
        UserError
            For what is neither, rates that are not above 0, and stages without epochs.
        """
        parts = text.split(",")
        stages = [_stage(part, text=text) for part in parts]
        if len(stages) > 1 and any(epochs is None for _, epochs in stages):
            bare = next(part.strip() for part, (_, epochs) in zip(parts, stages, strict=True) if epochs is None)
            raise UserError(
                f"learning_rate={text!r}: {bare!r} does not say for how many epochs; give every part of a schedule"
                f" its epochs, as in {bare}x10"
            )
        return cls(tuple(stages))

    @property
    def epochs(self) -> int | None:
        """Sum of the stages; None for a constant rate."""
        lengths = [epochs for _, epochs in self.stages if epochs is not None]
        return sum(lengths) if lengths else None

    def at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        for rate, epochs in self.stages:
            if epochs is None or epoch <= epochs:
                return rate
            epoch -= epochs
        return self.stages[-1][0]


def _stage(part: str, *, text: str) -> tuple[float, int | None]:
    match = _STAGE.fullmatch(part)
    remedy = "give a number such as 0.05, or a schedule such as 0.05x20,0.01x10 with the epochs at each rate"
    if match is None:
        raise UserError(f"learning_rate={text!r}: {part.strip()!r} is no learning rate; {remedy}")
    rate, epochs = float(match["rate"]), None if match["epochs"] is None else int(match["epochs"])
    if not (0 < rate < math.inf):
        raise UserError(
            f"learning_rate={text!r}: a learning rate must be above 0 and finite, not {match['rate']}; {remedy}"
        )
    if epochs == 0:
        raise UserError(f"learning_rate={text!r}: {part.strip()!r} has no epochs; leave it out, or give at least 1")
    return rate, epochs


@dataclass(frozen=True, kw_only=True)
class ExplicitConfig:
    """Options of `explicit`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int | None = epochs_option(
        None,
        f"Sweeps over the data; where it is not given, those of the schedule, or {DEFAULT_EPOCHS} at a constant rate.",
    )
    regularization: float = option(
        0.06, "L2 penalty λ on the vectors and biases of each rating.", minimum=0, aliases=("l2", "reg")
    )
    learning_rate: str = option(
        "0.05",
        "Step size of row-wise Adagrad: a number, or a schedule such as 0.05x20,0.01x10, with the epochs at each rate.",
        aliases=("lr",),
    )
    batch_size: int = option(4096, "Ratings in one step.", minimum=1, maximum=1 << 24)
    loss: str = option(
        "squared",
        "What is minimised: squared error (regression is the same), log loss of labels, or the Poisson loss of counts.",
        choices=("squared", "regression", "logistic", "poisson"),
    )
    biases: bool = option(True, "Whether there are a global mean and biases beside the dot product.")
    like_above: float | None = like_above_option()

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "loss", rating_loss(self.loss, like_above=self.like_above))
        # From Python a rate comes as a number as well.
        object.__setattr__(self, "learning_rate", str(self.learning_rate))
        scheduled = self.schedule.epochs
        if scheduled is not None and scheduled > _MOST_EPOCHS:
            raise UserError(
                f"learning_rate={self.learning_rate!r}: the schedule has {scheduled} epochs: give at most"
                f" {_MOST_EPOCHS:,}"
            )
        if None not in (self.epochs, scheduled) and self.epochs != scheduled:
            raise UserError(
                f"epochs={self.epochs} and learning_rate={self.learning_rate!r} disagree: the schedule has {scheduled}"
                " epochs; remove epochs or change the schedule"
            )

    @property
    def schedule(self) -> Schedule:
        """The learning rate of each epoch."""
        return Schedule.parse(self.learning_rate)

    @property
    def planned_epochs(self) -> int:
        """Epochs, those of the schedule or the default where they are not given."""
        return self.epochs or self.schedule.epochs or DEFAULT_EPOCHS

    @property
    def frequency_offset(self) -> float:
        """n₀; 0 without biases, where there is no mean for a row to shrink to."""
        return _FREQUENCY_OFFSET if self.biases else 0.0
