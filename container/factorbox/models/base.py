"""What every algorithm takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.feedback import Feedback
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import UserError
from factorbox.models.network import NetworkProblem
from factorbox.options import option

Device = Literal["cpu", "cuda", "none"]
"""Where training runs: numba kernels and torch on the processor, torch on a GPU, or torch alone (`none`)."""

RatingLoss = Literal["squared", "logistic", "poisson"]
"""Losses of ratings: squared error; log loss of σ(x̂) for labels 0 and 1; exp(x̂) − r x̂ for r ≥ 0."""

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
    """

    item_factors: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    global_mean: float = 0.0
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fold_in: Mapping[str, float] = field(default_factory=dict)


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
        Sweeps that were completed.
    train_loss
        Loss of the last completed sweep, as logged.
    global_mean
        μ; 0 for models without biases and for implicit ones.
    layers
        float32 weights of the network by name.
    fold_in
        Constants that `Algorithm.row_system` needs beside the configuration; kept in the manifest. For ratings
        `listed_value` is one of them: see `listed_value`.
    converged
        Whether the criterion of convergence was met; None for an algorithm without one.
    metrics
        What else is known of the fit, for the log and the manifest.
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
    converged: bool | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def item_side(self) -> ItemSide:
        """What users are folded in by."""
        return ItemSide(self.item_factors, self.item_biases, self.global_mean, self.layers, self.fold_in)


def like_above_option() -> Any:
    """Declare the option `like_above`; see `rating_loss`."""
    return option(
        None,
        "With loss=logistic: a rating above this is a like, any other is none; where it is not given, ratings are"
        " labels: 1, and 0 or -1.",
    )


def rating_loss(loss: str, *, like_above: float | None) -> str:
    """Return a loss by its one name: `regression` is `squared`.

    Raises
    ------
    UserError
        Where `like_above` stands beside a loss without labels.
    """
    if like_above is not None and loss != "logistic":
        raise UserError(
            f"like_above={like_above:g} makes labels, and loss={loss} fits none: add loss=logistic or remove like_above"
        )
    return "squared" if loss == "regression" else loss


def listed_value(ratings: NDArray[np.float32], *, above: float | None = None) -> float:
    """Return what an item counts as in a history that is a plain list: a list names what a user likes.

    That is the mean of the ratings above `above`, by default of those that are at least the mean rating.
    """
    exact = ratings.astype(np.float64)
    # In float32, as the labels are made: 3.7 is not above 3.7.
    liked = exact[exact >= exact.mean()] if above is None else exact[ratings > np.float32(above)]
    return float(liked.mean() if len(liked) else exact.max())


def frequency_penalties(
    counts: NDArray[np.int64], *, offset: float, regularization: float, exponent: float
) -> NDArray[np.float64]:
    """Return ρ = λ (|S| + offset)^ν for rows with so many entries.  # (rows,).

    Training and fold-in share this, so that they solve the same problem.
    """
    return np.asarray(regularization * (counts + offset) ** exponent)


@dataclass(frozen=True, eq=False)
class Terms:
    """What the entries of some histories add to their users' systems; see `RowSystem`.

    Attributes
    ----------
    c
        float64, (entries,): weight of x_k x_kᵀ in A.
    f
        float64, (entries,): influence per x_iᵀ A⁻¹ x_k.
    p
        float64, (entries,): the value that the model fits, so that f_k p_k x_k is added to the right-hand side.
    """

    c: NDArray[np.float64]
    f: NDArray[np.float64]
    p: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowSystem:
    """The problem that gives a user's row from a history while the items stay as they are.

    With x_k the factors of item k, a 1 appended where users have a bias, and v the user's factors, with the bias
    appended, it is for the squared loss

        A v = g + Σ_{k∈S} f_k p_k x_k,   A = G + Σ_{k∈S} c_k x_k x_kᵀ + λ (|S| + offset)^ν I

    for a history S of distinct items with weights r_k, and m = d or d + 1 unknowns. Of implicit feedback a model fits
    p_k = 1, with c_k = alpha · r_k (or 1) and f_k = c_k t_k; of ratings it fits p_k = r_k + t_k, with f_k = 1, and
    c_k = 1 (or 0 where G holds every cell's x_k x_kᵀ already).

    For the logistic and the Poisson loss with mean σ(x̂) or exp(x̂), and x̂_k = x_k·v − t_k, it is the minimum of

        Σ_{k∈S} loss(r_k, x̂_k) + ½ vᵀ (G + λ (|S| + offset)^ν I) v − g·v

    which solves the same system with the working weights c_k = f_k = loss''(x̂_k) and the working values
    p_k = x_k·v − loss'(x̂_k) / c_k (iteratively reweighted least squares; McCullagh and Nelder 1989, section 2.5).

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
        t, float32, (items,). Implicit: what the model fits for each item once it is in a history, less the item's
        bias. Ratings: −μ − b_k, less which a rating is fitted.
    offsets
        float32, (items,): what of each item's x̂ no unknown explains: μ + b_i.
    alpha
        c_k = alpha · weight_k; None where weights are ignored and c_k = 1, and for ratings.
    regularization, frequency_offset, regularization_exponent
        λ, offset and ν.
    ratings
        Whether the weights of a history are the values that the model fits.
    every_cell
        Whether G holds x_k x_kᵀ of every item, those of the history among them, so that c_k = 0.
    loss
        What is minimised.
    like_above
        For the logistic loss: a rating above this is a 1, any other a 0. None where the ratings are labels.
    non_negative
        Whether v ≥ 0 is demanded: the system then holds for the components that are not 0.
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
    ratings: bool = False
    every_cell: bool = False
    loss: RatingLoss = "squared"
    like_above: float | None = None
    non_negative: bool = False

    def penalties(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return λ (|S| + offset)^ν for histories of so many items.  # (rows,)."""
        return frequency_penalties(
            counts,
            offset=self.frequency_offset,
            regularization=self.regularization,
            exponent=self.regularization_exponent,
        )

    def terms(self, histories: Rows) -> Terms:
        """Return what each entry of some histories adds, for the squared loss."""
        weights, targets = histories.weights.astype(np.float64), self.targets[histories.indices].astype(np.float64)
        ones = np.ones(len(weights))
        if self.ratings:
            return Terms(c=np.zeros(len(weights)) if self.every_cell else ones, f=ones, p=weights + targets)
        c = ones if self.alpha is None else self.alpha * weights
        return Terms(c=c, f=c * targets, p=ones)


FoldInProblem = RowSystem | NetworkProblem
"""What folds a user in."""


@dataclass(frozen=True)
class Epoch:
    """One completed sweep over the data.

    Attributes
    ----------
    number
        Counted from 1.
    train_loss
        Mean loss of the sweep.
    seconds
        Wall time.
    snapshot
        Returns the model as it stands; good until the watch returns.
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
        A training never returns without one completed sweep.
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
    ) -> Factors:
        """Fit a model.

        Same interactions, configuration, seed, device and processor type give the same bytes, whatever `threads`.

        Raises
        ------
        AlgorithmError
            Where the loss stops being finite; the message names the hyperparameters to change.
        """
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

    def memory(self, *, users: int, items: int, pairs: int, config: Any) -> int:
        """Estimate the bytes that `fit` needs beside the interactions themselves."""
        ...
