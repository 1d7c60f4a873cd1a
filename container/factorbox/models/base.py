"""What every algorithm takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import Feedback
from factorbox.data.interactions import Interactions
from factorbox.models.row_system import FoldInProblem
from factorbox.options import option

Device = Literal["cpu", "cuda", "none"]
"""Where training runs: numba kernels and torch on the processor, torch on a GPU, or torch alone (`none`)."""

Link = Literal["identity", "sigmoid", "exp"]
"""What turns the sum that a model ranks by into the score of an answer; all of them keep the order."""


def embedding_dim_option(default: int) -> Any:
    """Declare the option `embedding_dim`, under the names that peers give it."""
    return option(
        default,
        "Latent dimension: numbers in the vector of each user and item.",
        minimum=1,
        maximum=4096,
        aliases=("factors", "n_factors", "num_components", "n_components", "no_components"),
    )


def epochs_option(default: int | None, meaning: str = "Sweeps over the data.") -> Any:
    """Declare the option `epochs`, under the names that peers give it."""
    return option(
        default,
        meaning,
        minimum=1,
        maximum=100_000,
        aliases=("n_iter", "iterations", "nb_epoch", "max_iter"),
    )


@dataclass(frozen=True, eq=False)
class ItemSide:
    """The part of a fitted model that stays as it is while users are folded in.

    Attributes
    ----------
    item_factors, item_biases
        float32, (items, d) and (items,).
    global_mean
        μ.
    layers
        Weights of a network by name; empty for all models whose score is a dot product.
    fold_in
        `Factors.fold_in` of the training; empty for a model that was saved before there was any.
    idf
        `Factors.idf`.
    """

    item_factors: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    global_mean: float = 0.0
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fold_in: Mapping[str, float] = field(default_factory=dict)
    idf: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class Factors:
    """A fitted model, which ranks by

        x̂_ui = μ + user_biases[u] + item_biases[i] + user_factors[u] · item_factors[i]

    or, where there are `layers`, by a network of both rows (`factorbox.models.network`). The score of an answer is
    x̂_ui, or what `Algorithm.link` makes of it.

    Attributes
    ----------
    user_factors, item_factors
        float32, C-contiguous, (users, d) and (items, d).
    user_biases, item_biases
        float32, (users,) and (items,); zeros for a model without biases.
    epochs
        Sweeps that were completed, with those of the model that the training started from.
    train_loss
        Loss of the last completed sweep, as logged.
    global_mean
        μ; 0 for models without biases and for implicit ones.
    layers
        float32 weights of the network by name.
    fold_in
        Constants that `Algorithm.row_system` needs beside the configuration; kept in the manifest. For ratings
        `listed_value` is one of them: see `listed_value`.
    idf
        float32, (items,), where the weights of a history are transformed by it (`factorbox.models.confidence`);
        otherwise empty.
    converged
        Whether the criterion of convergence was met; None for an algorithm without one.
    metrics
        What else is known of the fit, for the log and the manifest.
    state
        What a training that goes on from here needs beside the model, such as the sums of an optimizer, by name; it is
        never saved.
    """  # noqa: D400 - the sentence goes on in the formula

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    epochs: int
    train_loss: float
    global_mean: float = 0.0
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fold_in: Mapping[str, float] = field(default_factory=dict)
    idf: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    converged: bool | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def copy(self) -> Factors:
        """Return the same model in memory of its own, which a training that goes on does not change."""
        return replace(
            self,
            user_factors=self.user_factors.copy(),
            item_factors=self.item_factors.copy(),
            user_biases=self.user_biases.copy(),
            item_biases=self.item_biases.copy(),
            layers={name: values.copy() for name, values in self.layers.items()},
            state={name: values.copy() for name, values in self.state.items()},
        )

    @property
    def item_side(self) -> ItemSide:
        """What users are folded in by."""
        return ItemSide(self.item_factors, self.item_biases, self.global_mean, self.layers, self.fold_in, self.idf)


def listed_value(ratings: NDArray[np.float32], *, above: float | None = None) -> float:
    """Return what an item counts as in a history that is a plain list: a list names what a user likes.

    That is the mean of the ratings above `above`, by default of those that are at least the mean rating.
    """
    exact = ratings.astype(np.float64)
    # In float32, as the labels are made: 3.7 is not above 3.7.
    liked = exact[exact >= exact.mean()] if above is None else exact[ratings > np.float32(above)]
    return float(liked.mean() if len(liked) else exact.max())


@dataclass(frozen=True)
class Epoch:
    """One completed sweep over the data.

    Attributes
    ----------
    number
        Counted from 1, or on from the epochs of the model that the training started from.
    train_loss
        Mean loss of the sweep.
    seconds
        Wall time.
    snapshot
        Returns the model as it stands, without what `Algorithm.finished` adds; cheap, since it shares memory with the
        training, and good until the watch returns.
    details
        What else the log shows of this epoch.
    """

    number: int
    train_loss: float
    seconds: float
    snapshot: Callable[[], Factors]
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Watch:
    """How a caller follows a training and ends it early.

    Attributes
    ----------
    on_epoch
        Called after each sweep.
    should_stop
        Asked between blocks of work; once it is true the training finishes the model as it stands and returns.
        A training that starts from nothing never returns without one completed sweep.
    """

    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    should_stop: Callable[[], bool] = lambda: False


class Algorithm(Protocol):
    """One way to fit factors to interactions."""

    name: str
    config: type[Any]
    """Its configuration: a frozen dataclass of options (`factorbox.options`)."""
    explains: bool
    """Whether a score is a sum over the history, so that it can be explained."""
    warm_epochs: int | None
    """Sweeps over everything that finish a model which was fitted to nearly all of it, as well as a training from the
    beginning; None where only that is as good."""

    def feedback(self, config: Any) -> Feedback:
        """Return what the weights of the data mean."""
        ...

    def link(self, config: Any) -> Link:
        """Return what turns x̂ into the score of an answer."""
        ...

    def resolved(self, config: Any, *, interactions: Interactions) -> Any:
        """Return the configuration with every default that depends on the data filled in.

        `fit` does this by itself; a caller who wants to log or keep what is really used asks first.

        Raises
        ------
        UserError
            Where the data do not suit the configuration.
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
        start: Factors | None = None,
    ) -> Factors:
        """Fit a model.

        Same interactions, configuration, seed, device, processor type and start give the same bytes, whatever
        `threads`.

        Parameters
        ----------
        start
            A model of the same ids, fitted to other pairs of theirs, with its `state`: from it the training goes on by
            `config.epochs` more sweeps. Users and items that had no pairs then begin as they do without it.

        Raises
        ------
        AlgorithmError
            Where the loss stops being finite; the message names the hyperparameters to change. Where the start does
            not fit the interactions or the configuration.
        """
        ...

    def finished(
        self, snapshot: Factors, *, interactions: Interactions, config: Any, threads: int = 1, device: Device = "cpu"
    ) -> Factors:
        """Return what `fit` makes of the last epoch's snapshot: a model that users can be folded into.

        Parameters
        ----------
        snapshot
            Of one of the epochs of a training with these interactions; it is not changed.
        config
            The resolved configuration of that training.
        """
        ...

    def continuation(self, config: Any, *, epochs: int) -> Any:
        """Return the configuration by which `fit` goes on from a start for so many more sweeps."""
        ...

    def row_system(self, config: Any, items: ItemSide) -> FoldInProblem:
        """Return the problem whose solution is the row of a user who was not in training.

        Parameters
        ----------
        config
            The resolved configuration of the training.
        items
            The item side of the fitted model.
        """
        ...

    def memory(self, *, users: int, items: int, pairs: int, config: Any, device: Device = "cpu") -> int:
        """Estimate the bytes that `fit` on a device needs beside the interactions themselves."""
        ...
