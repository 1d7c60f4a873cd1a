"""What every algorithm takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    fold_in
        Constants that `Algorithm.row_system` needs beside the configuration; kept in the manifest.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    epochs: int
    train_loss: float
    fold_in: Mapping[str, float] = field(default_factory=dict)


def frequency_penalties(
    counts: NDArray[np.int64], *, offset: float, regularization: float, exponent: float
) -> NDArray[np.float64]:
    """Return ρ = λ (|S| + offset)^ν for rows with so many entries.  # (rows,).

    Training and fold-in share this, so that they solve the same problem.
    """
    return np.asarray(regularization * (counts + offset) ** exponent)


@dataclass(frozen=True, eq=False)
class RowSystem:
    """The least-squares problem that gives a user's row from a history while the items stay as they are.

    With x_k the factors of item k, a 1 appended where users have a bias, and v the user's factors, with the bias
    appended, it is

        A v = g + Σ_{k∈S} c_k t_k x_k,   A = G + Σ_{k∈S} c_k x_k x_kᵀ + λ (|S| + offset)^ν I

    for a history S of distinct items with weights, and m = d or d + 1 unknowns.

    Attributes
    ----------
    item_factors
        float32, (items, d).
    has_bias
        Whether m = d + 1.
    gram
        G, float64, (m, m).
    constant
        g, float64, (m,).
    targets
        t, float32, (items,): what the model fits for each item once it is in a history, less the item's bias.
    offsets
        float32, (items,): what of each item's score no unknown explains: its bias.
    alpha
        c_k = alpha · weight_k; None where weights are ignored and c_k = 1.
    regularization, frequency_offset, regularization_exponent
        λ, offset and ν.
    """

    item_factors: NDArray[np.float32]
    has_bias: bool
    gram: NDArray[np.float64]
    constant: NDArray[np.float64]
    targets: NDArray[np.float32]
    offsets: NDArray[np.float32]
    alpha: float | None
    regularization: float
    frequency_offset: float
    regularization_exponent: float

    def penalties(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return λ (|S| + offset)^ν for histories of so many items.  # (rows,)."""
        return frequency_penalties(
            counts,
            offset=self.frequency_offset,
            regularization=self.regularization,
            exponent=self.regularization_exponent,
        )

    def confidences(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return c_k for history items of these weights.  # (entries,)."""
        return np.ones(len(weights)) if self.alpha is None else self.alpha * weights.astype(np.float64)


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

    def row_system(
        self,
        config: Any,
        *,
        item_factors: NDArray[np.float32],
        item_biases: NDArray[np.float32],
        fold_in: Mapping[str, float],
    ) -> RowSystem:
        """Return the problem whose solution is the row of a user who was not in training.

        Parameters
        ----------
        config
            The resolved configuration of the training.
        item_factors, item_biases
            (items, d) and (items,), of the fitted model.
        fold_in
            `Factors.fold_in` of the training; empty for a model that was saved before there was any.
        """
        ...

    def memory(self, *, users: int, items: int, pairs: int, config: Any) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        ...
