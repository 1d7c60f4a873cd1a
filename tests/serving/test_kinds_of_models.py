"""What differs between models: the weights that they take, reasons, labels; over the Flask client."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from flask.testing import FlaskClient

from factorbox.recommend.traits import Traits
from factorbox.serving.app import create_app
from factorbox.serving.settings import Settings
from serving.small_model import ALS, LOGISTIC, MLP, NMF, POISSON, SQUARED, SmallModel

EVERY = [
    pytest.param(traits, id=f"{traits.algorithm}-{traits.link}")
    for traits in (ALS, SQUARED, LOGISTIC, POISSON, NMF, MLP)
]
JSON = "application/jsonlines"


def model_of(traits: Traits) -> SmallModel:
    # u0 has item a.
    return SmallModel(users=["u0", "u1", "u2"], items=["a", "b", "c"], traits=traits)


def client_of(model: SmallModel, *, settings: Settings | None = None) -> FlaskClient:
    return create_app(model, settings=settings or Settings(), workers=1, ready=lambda: True).test_client()


def ask(traits: Traits, *records: dict[str, Any], mark: bool = False, accept: str = JSON) -> tuple[int, str]:
    settings = Settings(bad_records="mark" if mark else "error")
    body = "\n".join(map(json.dumps, records))
    answer = client_of(model_of(traits), settings=settings).post(
        "/invocations", data=body, content_type=JSON, headers={"Accept": accept}
    )
    return answer.status_code, answer.text


def answers(traits: Traits, *records: dict[str, Any]) -> list[dict[str, Any]]:
    status, text = ask(traits, *records)
    assert status == 200, text
    return [json.loads(line) for line in text.split("\n")]


@pytest.mark.parametrize(
    ("traits", "weights"),
    [
        (ALS, [1e-30, 2.5]),
        (MLP, [1e-30, 2.5]),
        (SQUARED, [-3.5, 0, 2.5, "-1.5"]),
        (LOGISTIC, [-3.5, 0, 1]),
        (POISSON, [0, 7]),
        (NMF, [0, 4.5]),
    ],
)
@pytest.mark.parametrize("field", ["history", "sequence"])
def test_a_model_takes_the_weights_that_it_can_be_trained_on(traits: Traits, weights: list[Any], field: str) -> None:
    label = {"sequence_id": "s"} if field == "sequence" else {}

    for answer in answers(traits, *({**label, field: {"b": weight, "c": 1}, "top_n": 2} for weight in weights)):
        assert len(answer["recommendations"]) == 1


@pytest.mark.parametrize(
    ("traits", "weight", "shown"),
    [
        (ALS, 0, "0"),
        (ALS, -1.5, "-1.5"),
        (ALS, 1e-300, "1e-300"),
        (MLP, 0, "0"),
        (POISSON, -1, "-1"),
        (NMF, -0.5, "-0.5"),
    ],
)
def test_a_weight_that_a_model_cannot_take_is_refused_by_record_field_and_value(
    traits: Traits, weight: float, shown: str
) -> None:
    good = {"user_id": "u0", "top_n": 1}
    bad = {"user_id": "u1", "history": {"b": 1, 'c"': weight}}

    status, text = ask(traits, good, bad, good)

    assert status == 400
    assert text.startswith(rf'record 2: history["c\""] {shown} is not a '), text
    assert text.endswith(", or leave the item out")
    assert len(text.splitlines()) == 1

    status, text = ask(traits, good, bad, {"sequence_id": "s", "sequence": {"a": weight}}, good, mark=True)
    lines = [json.loads(line) for line in text.split("\n")]
    assert status == 200
    assert [list(line) for line in lines] == [
        ["user_id", "recommendations"],
        ["user_id", "error"],
        ["sequence_id", "error"],
        ["user_id", "recommendations"],
    ]
    assert lines[2]["error"]["field"] == 'sequence["a"]'
    assert (lines[2]["error"]["record"], lines[2]["error"]["value"]) == (3, shown)


def test_the_first_bad_record_is_named_whoever_found_it() -> None:
    weightless, nameless = {"history": {"b": 0}}, {"top_n": 5}

    assert ask(ALS, weightless, nameless)[1].startswith("record 1: history")
    assert ask(ALS, nameless, weightless)[1].startswith("record 1: has no subject")


@pytest.mark.parametrize("accept", [JSON, "text/csv"])
def test_a_model_without_reasons_refuses_to_explain_by_its_name(accept: str) -> None:
    status, text = ask(MLP, {"user_id": "u0"}, {"user_id": "u1", "explain": 3}, accept=accept)

    assert status == 400
    assert text.startswith("record 2: explain 3 ") and "mlp" in text

    status, text = ask(MLP, {"user_id": "u1", "explain": 3}, {"user_id": "u0", "top_n": 1}, accept=accept, mark=True)
    first, second = text.split("\n")
    assert status == 200 and "mlp" in first
    assert "error" in first if accept == JSON else first.startswith("u1,ERROR,")
    assert "error" not in second.lower()


@pytest.mark.parametrize("traits", EVERY)
def test_records_without_history_and_reasons_are_not_looked_at_twice(traits: Traits) -> None:
    model = model_of(traits)
    records = [{"user_id": "u0"}, {"item_id": "a"}, {"user_id": "u1", "item_ids": ["a"]}, {"history": ["b"]}]

    answer = client_of(model).post(
        "/invocations", data="\n".join(map(json.dumps, records)), content_type=JSON, headers={"Accept": JSON}
    )

    assert answer.status_code == 200
    assert [query.history for query in model.answering.judged] == [["b"]]


@pytest.mark.parametrize("traits", EVERY)
def test_only_probabilities_come_with_a_label(traits: Traits) -> None:
    records: list[dict[str, Any]] = [
        {"user_id": "u1"},
        {"user_id": "u1", "item_ids": ["b", "?"]},
        {"history": {"b": 1}},
        {"history": ["a", "b"]},
        {"item_id": "a"},
    ]
    ranked, pairs, folded, listed, similar = (line["recommendations"] for line in answers(traits, *records))

    for row in [*ranked, pairs[0], *folded, *listed]:
        if traits is LOGISTIC:
            assert 0 < row["score"] < 1
            assert list(row)[:3] == ["item_id", "score", "predicted_label"]
            assert row["predicted_label"] == int(row["score"] >= 0.5)
        else:
            assert "predicted_label" not in row
    assert pairs[1] == {"item_id": "?", "score": None}
    assert [list(row) for row in similar] == [["item_id", "score"]] * 2
    assert answers(traits, {"user_id": "u0", "similar_users": True})[0]["similar_users"][0].keys() == {
        "user_id",
        "score",
    }


def test_labels_are_both_ones_and_zeros() -> None:
    (line,) = answers(LOGISTIC, {"history": {"a": 0, "b": 0, "c": 0}, "exclude_seen": False})

    assert [(row["item_id"], row["predicted_label"]) for row in line["recommendations"]] == [
        ("c", 1),
        ("b", 1),
        ("a", 0),
    ]


@pytest.mark.parametrize("traits", EVERY)
def test_csv_has_the_same_three_columns_for_every_model(traits: Traits) -> None:
    status, text = ask(traits, {"user_id": "u1"}, accept="text/csv")
    (line,) = answers(traits, {"user_id": "u1"})

    assert status == 200
    rows = [row.split(",") for row in text.split("\n")]
    assert [[item, float(score)] for _, item, score in rows] == [
        [row["item_id"], row["score"]] for row in line["recommendations"]
    ]


@pytest.mark.parametrize("traits", [SQUARED, LOGISTIC, POISSON])
def test_baseline_and_impacts_of_ratings_are_shown_as_they_are(traits: Traits) -> None:
    (line,) = answers(traits, {"history": {"a": 1, "b": 0}, "explain": 2})

    (row,) = line["recommendations"]
    links = {"identity": lambda x: x, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "exp": math.exp}
    total = row["baseline"] + sum(reason["impact"] for reason in row["because"])
    assert row["baseline"] == pytest.approx(0.5)
    assert row["score"] == pytest.approx(links[traits.link](total), rel=1e-5)
    assert all(reason["influence"] != reason["impact"] for reason in row["because"])


@pytest.mark.parametrize("traits", EVERY)
def test_the_page_knows_its_model_before_it_asks_for_anything(traits: Traits) -> None:
    (attributes,) = [line for line in client_of(model_of(traits)).get("/").text.split("\n") if line.startswith("<body")]

    assert attributes == (
        f'<body data-feedback="{traits.feedback.kind}" data-link="{traits.link}"'
        f' data-explains="{"false" if traits is MLP else "true"}">'
    )
