from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from factorbox.evaluation.estimates import Evaluation
from factorbox.evaluation.metrics import METRICS
from factorbox.evaluation.records import as_record
from factorbox.recommender import Recommender
from factorbox.report.blocks import Section, Table
from factorbox.report.inputs import CurvePoint, ReportInputs
from factorbox.report.quality_section import headline_facts, quality_section
from report_sections_support import (
    assert_charts_compile,
    charts_of,
    evaluation_of,
    every,
    model_of,
    rows_of,
    texts_of,
)

RANKING = {"ndcg@10": 0.3, "recall@10": 0.25, "auc": 0.9, "coverage@10": 0.1}
POPULAR = {"ndcg@10": 0.2, "recall@10": 0.2, "auc": 0.8, "coverage@10": 0.05}
RATING = {"rmse": 0.9, "mae": 0.7}
MEANS = {"rmse": 1.0, "mae": 0.8}
CURVE = [CurvePoint(1, 0.9, {"validation:ndcg@10": 0.25}), CurvePoint(2, 0.8, {"validation:ndcg@10": 0.3})]
MEASURED = "Measured on each user's last interaction."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return model_of(tmp_path_factory.mktemp("model"), [[0, 1], [1]], n_items=2)


def section_of(model: Recommender, evaluation: Evaluation | None, **more: Any) -> Section:
    return quality_section(ReportInputs(model=model, evaluation=evaluation, measured=MEASURED, **more))


def tables_of(section: Section) -> dict[str, Table]:
    return {block.title: block for block in every(section.blocks) if isinstance(block, Table)}


def test_what_was_measured_stands_first_and_all_numbers_are_there(model: Recommender) -> None:
    evaluation = evaluation_of(RANKING, POPULAR)
    section = section_of(model, evaluation, curve=CURVE)
    assert section.lead == MEASURED
    assert section.numbers == {
        "measured": MEASURED,
        "learning_curve": [
            {"epoch": 1, "train_loss": 0.9, "validation:ndcg@10": 0.25},
            {"epoch": 2, "train_loss": 0.8, "validation:ndcg@10": 0.3},
        ],
        "best_epoch": {"metric": "validation:ndcg@10", "epoch": 2},
        "evaluation": as_record(evaluation),
    }


def test_the_headline_says_how_much_better_than_most_popular(model: Recommender) -> None:
    evaluation = evaluation_of(RANKING, POPULAR)
    assert dict(headline_facts(evaluation).facts) == {
        "nDCG@10": "0.3000",
        "better than most popular": "50%",
        "users measured": "5",
        "held-out interactions": "16",
    }
    assert "50% better than most popular (0.2000)." in texts_of(section_of(model, evaluation))


def test_a_model_of_ratings_is_told_by_its_error_and_its_ranking(model: Recommender) -> None:
    worse = {**RANKING, "ndcg@10": 0.1}
    evaluation = evaluation_of({**worse, **RATING}, {**POPULAR, **MEANS})
    section = section_of(model, evaluation)
    assert [label for label, _ in headline_facts(evaluation).facts] == [
        "RMSE",
        "better than means and biases",
        "users measured",
        "held-out interactions",
    ]
    assert "RMSE is 0.9000" in texts_of(section) and "nDCG@10 is 0.1000" in texts_of(section)
    assert "what people would rate, and not what they will choose" in texts_of(section)
    assert tables_of(section).keys() == {
        "Predicted ratings in numbers",
        "Rankings in numbers",
        "By interactions of the user, all metrics",
        "By popularity of the item, all metrics",
        "What the metrics mean",
    }


def test_the_table_has_values_intervals_and_gains(model: Recommender) -> None:
    table = tables_of(section_of(model, evaluation_of(RANKING, POPULAR)))["Rankings in numbers"]
    assert table.columns == ["Metric", "This model", "Most popular", "Gain"]
    rows = [[text.replace("\N{EN DASH}", " to ") for text in row] for row in table.rows]
    assert rows[0] == ["nDCG@10", "0.3000 (0.2900 to 0.3100)", "0.2000 (0.1900 to 0.2100)", "+50%"]
    assert [row[0] for row in rows] == ["nDCG@10", "Recall@10", "AUC", "Coverage@10"]


def test_every_metric_that_is_shown_is_explained(model: Recommender) -> None:
    values = {metric.name: 0.5 for metric in METRICS}
    table = tables_of(section_of(model, evaluation_of(values, values)))["What the metrics mean"]
    assert sorted(row[1] for row in table.rows) == sorted(metric.meaning for metric in METRICS)


def test_charts_hold_both_sides_with_their_intervals(model: Recommender) -> None:
    charts = charts_of(section_of(model, evaluation_of(RANKING, POPULAR)))
    rows = rows_of(charts["Rankings: this model and most popular"].spec["data"])
    assert rows[:2] == [
        {"label": "nDCG@10", "size": "", "series": "this model", "value": 0.3, "low": 0.29, "high": 0.31},
        {"label": "nDCG@10", "size": "", "series": "most popular", "value": 0.2, "low": 0.19, "high": 0.21},
    ]
    by_activity = rows_of(charts["nDCG@10 by interactions of the user"].spec["data"])
    assert [row["label"] for row in by_activity] == ["1 to 20", "1 to 20", "21 or more", "21 or more"]
    assert by_activity[0]["size"] == "3 users, 9 held-out interactions"
    by_popularity = rows_of(charts["nDCG@10 by popularity rank of the item"].spec["data"])
    assert {row["label"] for row in by_popularity} == {"1 to 2,000, 20%"}


def test_model_and_baseline_of_a_metric_stand_on_one_line(model: Recommender) -> None:
    charts = charts_of(section_of(model, evaluation_of(RANKING, POPULAR)))
    assert all("yOffset" not in chart.spec["encoding"] for chart in charts.values() if "encoding" in chart.spec)
    steps = [
        charts[title].spec["height"]["step"]
        for title in ("Rankings: this model and most popular", "nDCG@10 by popularity rank of the item")
    ]
    # A label of two lines has more room.
    assert steps == [28, 42]


def test_an_auc_of_fewer_users_is_said(model: Recommender) -> None:
    evaluation = replace(evaluation_of(RANKING, POPULAR), auc_users=3)
    assert "AUC is that of 3 users." in tables_of(section_of(model, evaluation))["Rankings in numbers"].note


def test_without_an_evaluation_it_says_why_and_how_to_have_one(model: Recommender) -> None:
    section = quality_section(ReportInputs(model=model, evaluation=None, measured="Nothing was held out."))
    assert section.lead == "Nothing was held out."
    assert "validation=stratified" in texts_of(section) and not charts_of(section)
    assert section.numbers == {"measured": "Nothing was held out.", "learning_curve": []}


def test_every_kind_of_evaluation_has_charts_that_vega_lite_takes(model: Recommender) -> None:
    both, beside = {**RANKING, **RATING}, {**POPULAR, **MEANS}
    long = [CurvePoint(e, 1 / e, {"validation:rmse": 1 + 1 / e, "validation:loss": 1.0}) for e in range(1, 5_001)]
    sections = [
        section_of(model, evaluation_of(both, beside), curve=long),
        section_of(model, evaluation_of(both, beside, half=None, groups=False), curve=CURVE[:1]),
        section_of(model, evaluation_of({"ndcg@10": 0.0}, {"ndcg@10": 0.0}), curve=CURVE),
        section_of(model, None, curve=[CurvePoint(1, 0.5), CurvePoint(2, float("nan"))]),
    ]
    for section in sections:
        json.dumps(section.numbers, allow_nan=False)
    assert_charts_compile(sections)


def test_it_says_where_the_curves_show_some_of_the_users_or_epochs_only(model: Recommender) -> None:
    evaluation = evaluation_of(RANKING, POPULAR)
    whole = texts_of(section_of(model, evaluation, curve=CURVE, curve_users=evaluation.users))
    assert "epochs were measured on" not in whole and "The charts show" not in whole
    curve = [CurvePoint(epoch, 0.9, {"validation:ndcg@10": 0.25}) for epoch in range(1, 301)]
    said = texts_of(section_of(model, evaluation, curve=curve, curve_users=2))
    assert f"the epochs were measured on 2 of the {evaluation.users} users" in said
    assert "The charts show 200 of the 300 epochs." in said
