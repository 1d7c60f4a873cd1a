"""Configuration of `mlp`.

The defaults, but the hidden size and the dropout, were chosen on a validation part of the training part of ML-100K.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from factorbox.errors import UserError
from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.models.network import NetworkLoss
from factorbox.models.rating_losses import like_above_option, rating_loss
from factorbox.options import check_ranges, option

MAX_HIDDEN_SIZE = 4096
MAX_HIDDEN_LAYERS = 8


def parsed_sizes(text: str) -> tuple[int, ...]:
    """Read the sizes of hidden layers, such as `70` or `70,35`.

    Raises
    ------
    UserError
        Where it is no list of sizes, or one of them or their number is out of range.
    """
    remedy = (
        f"give 1 to {MAX_HIDDEN_LAYERS} sizes from 1 to {MAX_HIDDEN_SIZE:,}, the layer next to the embeddings first,"
        " such as 70 or 70,35"
    )
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not re.fullmatch("[0-9]{1,9}", part, re.ASCII) or not 1 <= int(part) <= MAX_HIDDEN_SIZE:
            raise UserError(f"hidden_sizes={text!r}: {part!r} is no size of a hidden layer; {remedy}")
    if len(parts) > MAX_HIDDEN_LAYERS:
        raise UserError(f"hidden_sizes={text!r} has {len(parts)} hidden layers; {remedy}")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Options of `mlp`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(30)
    hidden_sizes: str = option("70", "Units of each hidden layer, such as 70 or 70,35.")
    dropout_before: float = option(
        0.2, "Share of the embeddings' numbers that a step leaves out.", minimum=0, maximum=0.95
    )
    dropout_after: float = option(
        0.75, "Share of the units of each hidden layer that a step leaves out.", minimum=0, maximum=0.95
    )
    learning_rate: float = option(0.01, "Step size of Adam.", above=0, aliases=("lr",))
    regularization: float = option(
        0.0, "L2 penalty λ on the embeddings and weights of each sample.", minimum=0, aliases=("l2", "reg")
    )
    batch_size: int = option(1024, "Pairs or ratings in one step.", minimum=1, maximum=1 << 24)
    loss: str = option(
        "pointwise",
        "What is minimised: log loss of pairs and sampled items that a user has not seen; or of ratings squared error"
        " (regression is the same), log loss of labels, or the Poisson loss of counts.",
        choices=("pointwise", "squared", "regression", "logistic", "poisson"),
    )
    num_negative_samples: int = option(
        4, "With loss=pointwise: unseen items drawn for each pair.", minimum=1, maximum=1000
    )
    like_above: float | None = like_above_option()

    def __post_init__(self) -> None:
        check_ranges(self)
        object.__setattr__(self, "loss", rating_loss(self.loss, like_above=self.like_above))
        parsed_sizes(self.hidden_sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return parsed_sizes(self.hidden_sizes)

    @property
    def network_loss(self) -> NetworkLoss:
        """The loss, by its one name."""
        return cast(NetworkLoss, self.loss)

    @property
    def negatives(self) -> int:
        """Unseen items drawn for each pair."""
        return self.num_negative_samples if self.loss == "pointwise" else 0
