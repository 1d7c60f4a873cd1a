"""The report of a saved model: on what its training has measured, or on data of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from factorbox.commands.evaluate import Evaluated
from factorbox.data.splits import Pairs
from factorbox.evaluation.records import from_record
from factorbox.recommender import Recommender
from factorbox.report.inputs import CurvePoint, ReportInputs

_NOT_MEASURED = "The training of this model measured nothing; `python -m factorbox report MODEL DATA` does."


def saved_inputs(model: Recommender) -> ReportInputs:
    """Return what a report on a model is made from: what its training left in the manifest."""
    record = model.manifest.get("validation", {})
    return ReportInputs(
        model=model,
        evaluation=from_record(record) if "metrics" in record else None,
        measured=record.get("measured", _NOT_MEASURED),
        has_learned_all=record.get("model_has_seen_them", False),
        held_out=_unlearned(model),
        curve=_curve(model.manifest.get("learning_curve", [])),
        curve_users=record.get("curve_users"),
    )


def measured_inputs(model: Recommender, evaluated: Evaluated, *, data: Path) -> ReportInputs:
    """Return what a report on a model is made from that was measured by other data.

    Parameters
    ----------
    evaluated
        What `factorbox.commands.evaluate.evaluate_on` found.
    data
        Where those data are.
    """
    return ReportInputs(
        model=model,
        evaluation=evaluated.evaluation,
        measured=(
            f"Measured by those interactions of {data.name} that the model was not trained on: {evaluated.summary}"
        ).replace("\n", " "),
        held_out=evaluated.outside.pairs,
        curve=_curve(model.manifest.get("learning_curve", [])),
    )


def _curve(points: Sequence[Mapping[str, Any]]) -> list[CurvePoint]:
    """Read the learning curve of a manifest, in which a number that is not finite is null."""
    return [
        CurvePoint(
            epoch=point["epoch"],
            train_loss=_number(point.get("train_loss")),
            metrics={name: _number(value) for name, value in point.items() if ":" in name},
        )
        for point in points
    ]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _unlearned(model: Recommender) -> Pairs | None:
    """Return what the users have beside what the model was trained on; None where that is nothing."""
    held_out = model.artifact.held_out
    if held_out is None:
        return None
    return Pairs(np.repeat(np.arange(len(model.user_ids)), held_out.counts), held_out.indices, held_out.weights)
