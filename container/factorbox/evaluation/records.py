"""An evaluation as JSON values, as manifest.json and report.json keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factorbox.evaluation.estimates import Estimate, Evaluation, Group


def as_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON values, every number as it is."""
    return {
        "k": evaluation.k,
        "users": evaluation.users,
        "held_out_pairs": evaluation.pairs,
        "auc_users": evaluation.auc_users,
        "metrics": _estimates(evaluation.metrics),
        "baseline": _estimates(evaluation.baseline),
        "by_activity": _groups(evaluation.by_activity),
        "by_popularity": _groups(evaluation.by_popularity),
    }


def from_record(record: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation of `as_record`."""
    return Evaluation(
        k=record["k"],
        users=record["users"],
        pairs=record["held_out_pairs"],
        auc_users=record["auc_users"],
        metrics=_read_estimates(record["metrics"]),
        baseline=_read_estimates(record["baseline"]),
        by_activity=tuple(map(_read_group, record["by_activity"])),
        by_popularity=tuple(map(_read_group, record["by_popularity"])),
    )


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in estimates.items()}


def _groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {
            "label": group.label,
            "users": group.users,
            "held_out_pairs": group.pairs,
            "metrics": _estimates(group.metrics),
            "baseline": _estimates(group.baseline),
        }
        for group in groups
    ]


def _read_estimates(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    return {name: Estimate(**entry) for name, entry in record.items()}


def _read_group(record: Mapping[str, Any]) -> Group:
    return Group(
        label=record["label"],
        users=record["users"],
        pairs=record["held_out_pairs"],
        metrics=_read_estimates(record["metrics"]),
        baseline=_read_estimates(record["baseline"]),
    )
