"""What every algorithm takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.options import option

Device = Literal["cpu", "cuda", "none"]
"""Where training runs: numba kernels and torch on the processor, torch on a GPU, or torch alone (`none`)."""


def embedding_dim_option(default: int) -> Any:
    """Declare the option `embedding_dim`, under the names that peers give it."""
    return option(
        default,
        "Latent dimension: numbers in the vector of each user and item.",
        minimum=1,
        maximum=4096,
        aliases=("factors", "n_factors", "num_components", "n_components", "no_components"),
    )


def epochs_option(default: int) -> Any:
    """Declare the option `epochs`, under the names that peers give it."""
    return option(
        default,
        "Sweeps over the data.",
        minimum=1,
        maximum=100_000,
        aliases=("n_iter", "iterations", "nb_epoch", "max_iter"),
    )


@dataclass(frozen=True, eq=False)
class Factors:
    """A fitted model: score(u, i) = user_factors[u] · item_factors[i] + user_biases[u] + item_biases[i].

    Attributes
    ----------
    user_factors, item_factors
        float32, C-contiguous, (users, embedding_dim) and (items, embedding_dim).
    user_biases, item_biases
        float32, (users,) and (items,); zeros for a model without biases.
    epochs
        Sweeps that were completed.
    train_loss
        Loss of the last completed sweep, as logged.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    epochs: int
    train_loss: float


@dataclass(frozen=True)
class Epoch:
    """One completed sweep over the data: its number from 1, its loss, and the wall seconds it took."""

    number: int
    train_loss: float
    seconds: float


@dataclass(frozen=True)
class Watch:
    """How a caller follows a training and ends it early.

    Attributes
    ----------
    on_epoch
        Called after each sweep.
    should_stop
        Asked between blocks of work; once it is true the training finishes the model as it stands and returns.
        A training never returns without one completed sweep.
    """

    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    should_stop: Callable[[], bool] = lambda: False


class Algorithm(Protocol):
    """One way to fit factors to interactions."""

    name: str
    config: type[Any]
    """Its configuration: a frozen dataclass of options (`factorbox.options`)."""
    uses_weights: bool

    def resolved(self, config: Any, *, interactions: Interactions) -> Any:
        """Return the configuration with every default that depends on the data filled in.

        `fit` does this by itself; a caller who wants to log or keep what is really used asks first.
        """
        ...

    def fit(
        self,
        interactions: Interactions,
        *,
        config: Any,
        random_state: int,
        threads: int = 1,
        device: Device = "cpu",
        watch: Watch = Watch(),
    ) -> Factors:
        """Fit a model.

        Same interactions, configuration, seed, device and processor type give the same bytes, whatever `threads`.

        Raises
        ------
        AlgorithmError
            Where the loss stops being finite; the message names the hyperparameters to change.
        """
        ...

    def memory(self, *, users: int, items: int, pairs: int, config: Any) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        ...
