"""The section of the report on how good the model is: curves, metrics beside a baseline, and for whom it is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factorbox.evaluation.estimates import Evaluation, Group
from factorbox.evaluation.metrics import RATING_METRICS, Kind, Metric, ranking_metrics_at
from factorbox.evaluation.records import as_record
from factorbox.report.blocks import Block, Facts, Row, Section, Table, Text
from factorbox.report.charts import count, decimal
from factorbox.report.comparisons import (
    BASELINES,
    Comparison,
    comparisons,
    display_name,
    estimate_text,
    gain_size,
    gain_texts,
)
from factorbox.report.inputs import ReportInputs
from factorbox.report.learning_curves import MOST_POINTS, best_epoch, curve_charts, curve_numbers, objective_of
from factorbox.report.quality_charts import groups_chart, metrics_chart

_HOW_TO_MEASURE = (
    "To have a model measured, train it with validation=stratified, random, chronological or last, or give the job a"
    " channel validation with interactions of its own; python -m factorbox evaluate MODEL DATA measures a model that is"
    " there already."
)
_RANKS = "Ranks by popularity, and the share of the training interactions that is with these items. "
_ITEM_WORDS = ("items ", "item ", " of interactions")
_KINDS: tuple[Kind, ...] = ("rating", "ranking")
_TITLES: dict[Kind, str] = {"ranking": "Rankings", "rating": "Predicted ratings"}


def quality_section(inputs: ReportInputs) -> Section:
    """Say how good the model is, or why that is not known."""
    evaluation = inputs.evaluation
    found: dict[str, Any] = {"measured": inputs.measured, "learning_curve": curve_numbers(inputs.curve)}
    objective = objective_of(inputs.curve)
    best = None if objective is None else best_epoch(inputs.curve, objective)
    if best is not None:
        found["best_epoch"] = {"metric": objective, "epoch": best.epoch}
    blocks: list[Block] = []
    if evaluation is None:
        blocks.append(Text(_HOW_TO_MEASURE))
    else:
        found["evaluation"] = as_record(evaluation)
        blocks.extend(_verdict(evaluation))
    curves = curve_charts(inputs.curve)
    if curves:
        blocks.append(Row(curves))
        blocks.extend(_curve_notes(inputs))
    if evaluation is not None:
        for kind in _KINDS:
            blocks.extend(_of_kind(evaluation, kind))
        blocks.extend(_group_tables(evaluation))
        blocks.extend(_meanings(evaluation))
    return Section(
        key="quality",
        title="How good it is",
        lead=inputs.measured,
        blocks=blocks,
        numbers=found,
    )


def _curve_notes(inputs: ReportInputs) -> list[Block]:
    """Say where the curves show a part only."""
    notes = []
    users, measured = inputs.curve_users, inputs.evaluation
    if users is not None and measured is not None and users < measured.users:
        notes.append(
            f"To keep training fast, the epochs were measured on {count(users)} of the {count(measured.users)} users,"
            " so the last epoch may differ a little from what follows."
        )
    if len(inputs.curve) > MOST_POINTS:
        notes.append(f"The charts show {MOST_POINTS} of the {count(len(inputs.curve))} epochs.")
    return [Text(" ".join(notes))] if notes else []


def headline(evaluation: Evaluation) -> Sequence[Comparison]:
    """Return the one or two metrics that matter most."""
    return [of_kind[0] for kind in _KINDS if (of_kind := comparisons(evaluation, kind))]


def headline_facts(evaluation: Evaluation) -> Facts:
    """Return the first of these with what it gains, and by how much it was measured."""
    facts: list[tuple[str, str]] = []
    for one in headline(evaluation)[:1]:
        facts.append((display_name(one.metric.name), decimal(one.model.value, 4)))
        if one.gain:
            verb = "better" if one.gain > 0 else "worse"
            facts.append((f"{verb} than {BASELINES[one.metric.kind]}", gain_size(one.gain)))
    facts.append(("user measured" if evaluation.users == 1 else "users measured", count(evaluation.users)))
    facts.append(("held-out interactions", count(evaluation.pairs)))
    return Facts(facts)


def _verdict(evaluation: Evaluation) -> list[Block]:
    """Return the metrics that matter most in sentences."""
    first = headline(evaluation)
    sentences = [one.sentence for one in first]
    if len(first) == 2 and (first[1].gain or 0) < 0:
        sentences.append("A model of ratings learns what people would rate, and not what they will choose.")
    return [Text(" ".join(sentences))] if sentences else []


def _of_kind(evaluation: Evaluation, kind: Kind) -> list[Block]:
    """Return table and charts of the metrics of one kind, nothing where there are none."""
    of_kind = comparisons(evaluation, kind)
    if not of_kind:
        return []
    charts: list[Block] = []
    by_activity = _charted(evaluation.by_activity, evaluation, kind)
    if by_activity is not None:
        metric, groups = by_activity
        title = f"{display_name(metric.name)} by interactions of the user"
        charts.append(groups_chart(groups, metric, title=title, of="Users with", left_out=(" interactions",), note=""))
    by_popularity = _charted(evaluation.by_popularity, evaluation, kind)
    if by_popularity is not None:
        metric, groups = by_popularity
        title = f"{display_name(metric.name)} by popularity rank of the item"
        charts.append(groups_chart(groups, metric, title=title, of="Popularity", left_out=_ITEM_WORDS, note=_RANKS))
    return [
        metrics_chart(of_kind, title=f"{_TITLES[kind]}: this model and {BASELINES[kind]}"),
        _table(of_kind, evaluation, kind),
        *([Row(charts)] if charts else []),
    ]


def _table(of_kind: Sequence[Comparison], evaluation: Evaluation, kind: Kind) -> Table:
    note = "Gain: how much better than the baseline."
    if any(one.model.low is not None for one in of_kind):
        note = f"In parentheses: 95% bootstrap intervals over users. {note}"
    if "auc" in evaluation.metrics and kind == "ranking" and evaluation.auc_users < evaluation.users:
        note += f" AUC is that of {count(evaluation.auc_users)} users."
    return Table(
        title=f"{_TITLES[kind]} in numbers",
        columns=["Metric", "This model", BASELINES[kind].capitalize(), "Gain"],
        rows=[
            [
                display_name(one.metric.name),
                estimate_text(one.model),
                estimate_text(one.baseline),
                gain,
            ]
            for one, gain in zip(of_kind, gain_texts(of_kind), strict=True)
        ],
        numeric=(3,),
        note=note,
    )


def _meanings(evaluation: Evaluation) -> list[Block]:
    """Return what each metric is, folded."""
    of_kinds = [one.metric for kind in _KINDS for one in comparisons(evaluation, kind)]
    rows = [[display_name(metric.name), metric.meaning] for metric in of_kinds]
    return (
        [Table(title="What the metrics mean", columns=["Metric", "What it is"], rows=rows, folded=True)] if rows else []
    )


def _charted(groups: Sequence[Group], evaluation: Evaluation, kind: Kind) -> tuple[Metric, Sequence[Group]] | None:
    """Return the first metric of a kind that groups have, and those that have it; None where there is none."""
    known = ranking_metrics_at(evaluation.k) if kind == "ranking" else RATING_METRICS
    for metric in known:
        having = [group for group in groups if metric.name in group.metrics and metric.name in group.baseline]
        if having:
            return metric, having
    return None


def _group_tables(evaluation: Evaluation) -> list[Block]:
    """Return every metric of every group, folded."""
    tables: list[Block] = []
    for title, groups in (
        ("By interactions of the user, all metrics", evaluation.by_activity),
        ("By popularity of the item, all metrics", evaluation.by_popularity),
    ):
        names = list(dict.fromkeys(name for group in groups for name in group.metrics))
        if not names:
            continue
        rows = []
        for group in groups:
            values = [
                [f"{decimal(side[name].value, 4)}" if name in side else "" for name in names]
                for side in (group.metrics, group.baseline)
            ]
            rows.append([group.label, "this model", count(group.users), count(group.pairs), *values[0]])
            rows.append([group.label, "baseline", "", "", *values[1]])
        tables.append(
            Table(
                title=title,
                columns=["Group", "Of", "Users", "Pairs", *(display_name(name) for name in names)],
                rows=rows,
                numeric=range(2, 4 + len(names)),
                note="The baseline is most popular, and for RMSE and MAE means and biases."
                if any(metric.name in names for metric in RATING_METRICS)
                else "The baseline is most popular.",
                folded=True,
            )
        )
    return tables
