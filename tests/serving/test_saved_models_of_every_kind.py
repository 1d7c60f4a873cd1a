"""A saved model of each kind, asked over the Flask client."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from flask.testing import FlaskClient

from answering_support import VARIANTS
from factorbox.recommender import Recommender
from factorbox.serving.app import create_app
from factorbox.serving.settings import Settings
from serving.saved_models import save_variant

JSON = "application/jsonlines"
OF_RATINGS = [variant for variant, (algorithm, _) in VARIANTS.items() if algorithm in ("explicit", "nmf")]


class Served:
    """A saved model behind the application."""

    def __init__(self, variant: str, model: Recommender) -> None:
        self.variant = variant
        self.model = model
        self.client: FlaskClient = create_app(model, settings=Settings(), workers=1, ready=lambda: True).test_client()

    def post(self, *records: dict[str, Any], accept: str = JSON) -> tuple[int, str]:
        body = "\n".join(map(json.dumps, records))
        answer = self.client.post("/invocations", data=body, content_type=JSON, headers={"Accept": accept})
        return answer.status_code, answer.text

    def ask(self, *records: dict[str, Any]) -> list[dict[str, Any]]:
        status, text = self.post(*records)
        assert status == 200, text
        return [json.loads(line) for line in text.split("\n")]


@pytest.fixture(scope="module", params=VARIANTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("model")
    save_variant(folder, request.param)
    return Served(request.param, Recommender.load(folder))


def records_of_every_form(*, explains: bool) -> list[dict[str, Any]]:
    wishes: list[dict[str, Any]] = [{"top_n": 3}, {"item_ids": ["i0001", "?"]}, *([{"explain": 2}] if explains else [])]
    users: list[dict[str, Any]] = [
        {"user_id": "u0001"},
        {"user_id": "nobody"},
        {"user_id": "u0001", "history": {"i0003": 4}},
        {"sequence_id": "s", "sequence": ["i0003", "i0003"]},
        {"history": ["i0003", "i0007"]},
    ]
    return [
        *(user | wish for user in users for wish in wishes),
        {"item_id": "i0001", "top_n": 3},
        {"user_id": "u0001", "similar_users": True, "top_n": 3},
    ]


def test_every_form_of_record_is_answered_alone_as_among_others(served: Served) -> None:
    records = records_of_every_form(explains=served.model.answering.traits.explains)

    together = served.ask(*records)

    assert [line for record in records for line in served.ask(record)] == together
    for line in together:
        rows = line["similar_users"] if "similar_users" in line else line["recommendations"]
        assert rows and all(row["score"] is not None for row in rows if row.get("item_id") != "?")


def test_a_label_follows_the_probabilities_of_logistic_models_alone(served: Served) -> None:
    every = [
        row for line in served.ask({"user_id": "u0001"}, {"history": ["i0003"]}) for row in line["recommendations"]
    ]

    assert {row.get("predicted_label") for row in every} <= ({0, 1} if "logistic" in served.variant else {None})
    if "logistic" in served.variant:
        assert all(0 <= row["score"] <= 1 for row in every)
        assert all(row["predicted_label"] == (row["score"] >= 0.5) for row in every)


def test_zero_and_negative_weights_are_for_models_of_ratings_that_know_such(served: Served) -> None:
    least = served.model.answering.traits.feedback.minimum
    for weight in (1, 0, -1):
        status, text = served.post({"user_id": "u0001"}, {"sequence_id": "s", "sequence": {"i0003": weight}})
        assert status == (200 if weight >= least else 400)
        assert (status == 200) or text.startswith(f'record 2: sequence["i0003"] {weight} is not a ')


def test_reasons_add_up_to_what_is_shown_or_are_refused_by_the_name_of_the_algorithm(served: Served) -> None:
    traits = served.model.answering.traits
    status, text = served.post({"history": {"i0001": 5, "i0002": 1, "i0005": 4}, "explain": 10, "exclude_seen": False})

    if not traits.explains:
        assert status == 400
        assert text.startswith(f"record 1: explain 10 does not go with algorithm={traits.algorithm}")
        assert "`explain`" not in served.client.get("/openapi.json").text
        return
    for row in json.loads(text)["recommendations"]:
        total = row["baseline"] + row.get("own_impact", 0) + sum(reason["impact"] for reason in row["because"])
        shown = {"identity": total, "sigmoid": 1 / (1 + math.exp(-total)), "exp": math.exp(total)}[traits.link]
        assert row["score"] == pytest.approx(shown, rel=1e-3, abs=1e-4)


def test_csv_shows_the_scores_of_json(served: Served) -> None:
    (line,) = served.ask({"user_id": "u0001"})
    _, text = served.post({"user_id": "u0001"}, accept="text/csv")

    rows = [row.split(",") for row in text.split("\n")]
    assert [[item, float(score)] for _, item, score in rows] == [
        [row["item_id"], row["score"]] for row in line["recommendations"]
    ]


@pytest.mark.parametrize("served", OF_RATINGS, indirect=True)
def test_what_is_rated_well_counts_for_items_like_it_and_what_is_rated_badly_against_them(served: Served) -> None:
    loved, hated = served.ask(
        *({"history": {"i0001": rating, "i0005": rating}, "item_ids": ["i0009"]} for rating in (5, 1))
    )

    assert loved["recommendations"][0]["score"] > hated["recommendations"][0]["score"]
