from __future__ import annotations

import pytest

from factorbox.evaluation.estimates import Estimate
from factorbox.evaluation.metrics import RATING_METRICS, ranking_metrics_at
from factorbox.report.charts import decimal
from factorbox.report.comparisons import Comparison, comparisons, display_name, estimate_text, gain_texts
from report_sections_support import estimate, evaluation_of

NDCG, RMSE = ranking_metrics_at(10)[0], RATING_METRICS[0]


@pytest.mark.parametrize(
    ("comparison", "gain", "text"),
    [
        (Comparison(NDCG, estimate(0.3), estimate(0.2)), 0.5, "+50%"),
        (Comparison(NDCG, estimate(0.1), estimate(0.2)), -0.5, "−50%"),
        (Comparison(RMSE, estimate(0.9), estimate(1.0)), 0.1, "+10%"),
        (Comparison(RMSE, estimate(1.5), estimate(1.0)), -0.5, "−50%"),
        (Comparison(NDCG, estimate(0.5), estimate(0.1)), 4.0, "+400%"),
        (Comparison(NDCG, estimate(0.3), estimate(0.0)), None, decimal(None)),
        (Comparison(NDCG, estimate(0.3), estimate(0.3)), 0.0, "0%"),
    ],
)
def test_a_gain_is_what_the_model_has_over_the_baseline(comparison: Comparison, gain: float | None, text: str) -> None:
    assert comparison.gain == (None if gain is None else pytest.approx(gain))
    assert gain_texts([comparison]) == [text]


def test_gains_of_one_column_have_as_many_decimals() -> None:
    of = [Comparison(NDCG, estimate(value), estimate(0.2)) for value in (0.5, 0.3, 0.219)]
    assert gain_texts(of) == ["+150.0%", "+50.0%", "+9.5%"]
    assert gain_texts(of[:2]) == ["+150%", "+50%"]


def test_a_clear_gain_is_said_plainly() -> None:
    sentence = Comparison(NDCG, estimate(0.3), estimate(0.2)).sentence
    assert sentence == ("nDCG@10 is 0.3000 (95% interval 0.2900 to 0.3100), 50% better than most popular (0.2000).")


def test_overlapping_intervals_are_said() -> None:
    sentence = Comparison(RMSE, estimate(1.01), estimate(1.0)).sentence
    assert "1.0% worse than means and biases (1.0000)." in sentence
    assert sentence.endswith("The two intervals overlap, so that the difference may be chance.")


@pytest.mark.parametrize(("baseline", "said"), [(0.0, "and that of most popular is 0.0000"), (0.3, "the same as")])
def test_without_intervals_nothing_is_said_of_chance(baseline: float, said: str) -> None:
    sentence = Comparison(NDCG, Estimate(0.3), Estimate(baseline)).sentence
    assert said in sentence and "interval" not in sentence


def test_metrics_come_in_the_order_of_the_list_and_only_where_both_have_them() -> None:
    evaluation = evaluation_of({"auc": 0.9, "rmse": 1.0, "ndcg@10": 0.2}, {"ndcg@10": 0.1, "rmse": 1.1})
    assert [one.metric.name for one in comparisons(evaluation, "ranking")] == ["ndcg@10"]
    assert [one.metric.name for one in comparisons(evaluation, "rating")] == ["rmse"]


def test_names_and_values_for_readers() -> None:
    assert [display_name(name) for name in ("validation:ndcg@10", "hit_rate@5", "mae", "new@3")] == [
        "nDCG@10",
        "Hit rate@5",
        "MAE",
        "new@3",
    ]
    assert estimate_text(Estimate(0.25)) == "0.2500"
    assert estimate_text(Estimate(0.25, 0.2, 0.3)) == "0.2500 (0.2000\N{EN DASH}0.3000)"
