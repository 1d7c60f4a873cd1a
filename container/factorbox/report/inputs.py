"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from factorbox.data.activity import Activity
from factorbox.data.splits import Pairs
from factorbox.evaluation.estimates import Evaluation
from factorbox.recommender import Recommender


@dataclass(frozen=True)
class CurvePoint:
    """One epoch of the training that was measured.

    Attributes
    ----------
    epoch
        Counted from 1.
    train_loss
        Mean loss of the epoch.
    metrics
        Validation metrics by the names of the log, as in `validation:ndcg@10`; empty without a hold-out.
    """

    epoch: int
    train_loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """All that a report tells of.

    Attributes
    ----------
    model
        The model: its answers, factors, history, details of items and manifest.
    evaluation
        How good it is; None where nothing was held out.
    measured
        A sentence on what `evaluation` is about: which pairs were held out, and whether the model has seen them
        since; where nothing was held out, why.
    has_learned_all
        Whether the model has learned from the held-out pairs since it was measured.
    held_out
        Pairs that the evaluation is about; None where there are none at hand.
    curve
        The epochs of the training that was measured; empty where they are not known.
    curve_users
        Users over whom the metrics of the epochs are means; None where that is not known.
    activity
        Rows by day; None for data without times, and for a saved model.
    seconds
        Wall time of the parts of the job, in order; empty for a saved model.
    """

    model: Recommender
    evaluation: Evaluation | None
    measured: str
    has_learned_all: bool = False
    held_out: Pairs | None = None
    curve: Sequence[CurvePoint] = ()
    curve_users: int | None = None
    activity: Activity | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
