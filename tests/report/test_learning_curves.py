from __future__ import annotations

import pytest

from factorbox.report.inputs import CurvePoint
from factorbox.report.learning_curves import MOST_POINTS, best_epoch, curve_charts, curve_numbers, objective_of, thinned
from report_sections_support import rows_of

NDCG, RMSE, LOSS = "validation:ndcg@10", "validation:rmse", "validation:loss"


def curve_of(values: list[float], name: str = NDCG) -> list[CurvePoint]:
    return [CurvePoint(epoch, 1 / epoch, {name: value}) for epoch, value in enumerate(values, start=1)]


@pytest.mark.parametrize(("name", "best"), [(NDCG, 2), (RMSE, 1), (LOSS, 1), ("validation:auc", 2)])
def test_the_best_epoch_is_the_first_of_the_best_values(name: str, best: int) -> None:
    found = best_epoch(curve_of([0.1, 0.3, 0.2, 0.3, 0.1], name), name)
    assert found is not None and found.epoch == best


def test_epochs_that_were_not_measured_are_not_best() -> None:
    curve = [CurvePoint(1, 0.5), CurvePoint(2, 0.4, {NDCG: float("nan")}), CurvePoint(3, 0.3, {NDCG: 0.0})]
    found = best_epoch(curve, NDCG)
    assert found is not None and found.epoch == 3
    assert best_epoch(curve, RMSE) is None


def test_the_objective_is_what_the_training_told_epochs_apart_by() -> None:
    for names in ((NDCG, RMSE), (LOSS, RMSE)):
        assert objective_of([CurvePoint(1, 0.5, dict.fromkeys(names, 0.1))]) == names[0]
    assert objective_of([CurvePoint(1, 0.5)]) is None


def test_loss_and_metric_have_charts_of_their_own_with_the_best_epoch_marked() -> None:
    loss, metric = curve_charts(curve_of([0.1, 0.3, 0.2]))
    assert loss.title == "Training loss by epoch" and metric.title == "nDCG@10 on held-out interactions"
    assert [row["loss"] for row in rows_of(loss.spec["data"])] == [1, 0.5, 0.33333]
    assert rows_of(metric.spec["data"]) == [{"epoch": e, "value": v} for e, v in ((1, 0.1), (2, 0.3), (3, 0.2))]
    marked = [row for layer in metric.spec["layer"] if "data" in layer for row in rows_of(layer["data"])]
    assert marked == [{"epoch": 2, "value": 0.3, "name": "best: 2"}] * 2
    assert metric.note == "Best at epoch 2 of 3: 0.3000."


def test_a_held_out_loss_stands_beside_that_of_training() -> None:
    (chart,) = curve_charts(curve_of([0.9, 0.8], LOSS))
    assert rows_of(chart.spec["data"]) == [
        {"series": "training", "epoch": 1, "loss": 1.0},
        {"series": "training", "epoch": 2, "loss": 0.5},
        {"series": "held out", "epoch": 1, "loss": 0.9},
        {"series": "held out", "epoch": 2, "loss": 0.8},
    ]


def test_many_epochs_are_thinned_and_keep_both_ends_and_the_best() -> None:
    curve = curve_of([0.2] * 5_000)
    curve[1_234] = CurvePoint(1_235, 0.1, {NDCG: 0.9})
    shown = [point.epoch for point in thinned(curve, keep=curve[1_234])]
    assert len(shown) <= MOST_POINTS + 1 and shown == sorted(set(shown))
    assert {1, 1_235, 5_000} <= set(shown)
    assert all(len(rows_of(chart.spec["data"])) <= MOST_POINTS + 1 for chart in curve_charts(curve))
    assert len(curve_numbers(curve)) == 5_000


def test_few_epochs_stay_as_they_are_and_none_has_no_charts() -> None:
    curve = curve_of([0.2] * MOST_POINTS)
    assert thinned(curve) == curve
    assert curve_charts([]) == []


def test_numbers_are_whole_and_null_where_there_is_none() -> None:
    curve = [CurvePoint(1, 1 / 3, {NDCG: float("nan")}), CurvePoint(2, 0.25)]
    assert curve_numbers(curve) == [
        {"epoch": 1, "train_loss": 1 / 3, NDCG: None},
        {"epoch": 2, "train_loss": 0.25},
    ]
