"""What the model of each algorithm is, what it is for, and where its limits are, in a few honest sentences."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Purpose(NamedTuple):
    """What a model card says of an algorithm.

    Attributes
    ----------
    what
        What the model is.
    use
        What it is meant for.
    limits
        What it cannot do, or does badly.
    """

    what: str
    use: str
    limits: str


_RANKING = "It is meant to rank items that a user has not had yet, from what users chose, clicked, bought or watched."
_SCALE = "Its scores order the items of one user; they are no probabilities, and not comparable between users."
_COLD = "Of items without interactions it knows nothing, and of users with few of them little beyond what is popular."


def _sampled(loss: str) -> Purpose:
    return _of_pairs(f"Factors and item biases fitted to pairs of seen and randomly drawn unseen items by {loss}.")


def _of_pairs(what: str) -> Purpose:
    return Purpose(
        what,
        f"{_RANKING} The weights of interactions are not used.",
        f"{_SCALE} {_COLD} Answers for users with a given history come from a fitted approximation of the training.",
    )


PURPOSES: Mapping[str, Purpose] = MappingProxyType(
    {
        "als": Purpose(
            "Factors of users and items, fitted by alternating least squares to what was seen (weighted by confidence)"
            " against everything that was not.",
            _RANKING,
            f"{_SCALE} {_COLD}",
        ),
        "softmax": _of_pairs(
            "Factors of one length and item biases, fitted by softmax cross-entropy: each item of a user against those"
            " that the user has not got."
        ),
        "bpr": _sampled("Bayesian personalised ranking"),
        "hinge": _sampled("the hinge loss"),
        "adaptive_hinge": _sampled("the hinge loss against the highest-scored of several unseen items"),
        "pointwise": _sampled("the log loss of seen against unseen"),
        "explicit": Purpose(
            "A global mean, biases and factors of users and items, fitted to the ratings that were given.",
            "It is meant to predict what a user would rate an item.",
            "It learns nothing from which items users chose to rate: as a ranking of what they will take next it is"
            f" weak. {_COLD}",
        ),
        "nmf": Purpose(
            "Factors of users and items without negative numbers, so that each dimension adds to a score and can be"
            " read as a topic.",
            "It is meant for topics that people can read, and for rankings from counts or ratings.",
            f"It is less exact than models with signs, and depends on where it starts. {_COLD}",
        ),
        "mlp": Purpose(
            "A small neural network over the vectors of a user and an item.",
            "It is meant for comparison with the factor models, or where a relation is not linear.",
            "Its scores cannot be explained by the history of a user, it takes longer to train and to answer, and on"
            f" most data a dot product is at least as good. {_COLD}",
        ),
    }
)
"""By the name of the algorithm."""
