"""Evaluations as JSON values."""

from __future__ import annotations

import orjson

from factorbox.evaluation.estimates import Estimate, Evaluation, Group
from factorbox.evaluation.records import as_record, from_record

EVALUATION = Evaluation(
    k=10,
    users=7,
    pairs=30,
    metrics={"ndcg@10": Estimate(0.5, 0.25, 0.75), "coverage@10": Estimate(1 / 3)},
    baseline={"ndcg@10": Estimate(0.1, 0.0, 0.2), "coverage@10": Estimate(0.125)},
    by_activity=(
        Group("1 to 9 interactions", 4, 10, {"ndcg@10": Estimate(0.25, 0.0, 0.5)}, {"ndcg@10": Estimate(0.0)}),
    ),
    by_popularity=(Group("the head", 7, 20, {"recall@10": Estimate(0.5)}, {"recall@10": Estimate(0.75)}),),
    auc_users=5,
)


def test_an_evaluation_survives_json() -> None:
    assert from_record(orjson.loads(orjson.dumps(as_record(EVALUATION)))) == EVALUATION


def test_a_record_names_what_it_counts() -> None:
    record = as_record(EVALUATION)
    assert (record["k"], record["users"], record["held_out_pairs"], record["auc_users"]) == (10, 7, 30, 5)
    assert record["metrics"]["ndcg@10"] == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert record["baseline"]["coverage@10"] == {"value": 0.125, "low": None, "high": None}
    assert record["by_activity"][0]["label"] == "1 to 9 interactions"
    assert record["by_popularity"][0]["held_out_pairs"] == 20
