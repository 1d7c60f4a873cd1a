"""Users who are described by hand, and the films that they should be recommended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import factorbox
from benchmarks import movielens
from demo_data import above_two, read_ratings
from factorbox import artifact
from factorbox.commands.evaluate_queries import judge, read_queries
from factorbox.models import ALGORITHMS
from factorbox.recommender import Recommender

K = 10

PERSONAS = Path(__file__).resolve().parent.parent.parent / "local_test/payloads/personas.jsonl"


def personas() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PERSONAS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """The model of the demo: ML-100K, what is rated above 2, no hyperparameters."""
    demo = Path(__file__).resolve().parent.parent.parent / "local_test/demo_output/ml-100k/ml-100k.inter"
    files = [demo, *(Path(folder) / "ml-100k/u.data" for folder in [os.environ.get("FACTORBOX_DATA")] if folder)]
    ratings = next((file for file in files if file.is_file()), None)
    if ratings is None:
        pytest.skip("neither FACTORBOX_DATA nor a run of local_test/demo.sh has MovieLens 100K")
    kept = above_two(read_ratings(ratings))
    interactions = movielens.interactions_of(
        movielens.Pairs(kept["user_id"].to_numpy(str), kept["item_id"].to_numpy(str))
    )
    name, default = next(iter(ALGORITHMS.items()))
    config = default.resolved(default.config(), interactions=interactions)
    factors = default.fit(interactions, config=config, random_state=42, threads=2)
    folder = tmp_path_factory.mktemp("model")
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm=name,
        hyperparameters=asdict(config),
        metrics={},
    )
    return factorbox.load(folder)


def test_each_persona_has_a_name_films_and_other_films_to_be_recommended() -> None:
    assert 6 <= len(personas()) <= 10
    assert len({persona["name"] for persona in personas()}) == len(personas())
    for persona in personas():
        assert persona.keys() == {"name", "history", "relevant"}
        history, relevant = persona["history"], persona["relevant"]
        assert 5 <= len(history) <= 8 and 5 <= len(relevant) <= 15
        assert len({*history, *relevant}) == len(history) + len(relevant)
        assert all(isinstance(item, str) for item in (*history, *relevant))


def test_every_film_is_known_to_the_model_of_the_demo(model: Recommender) -> None:
    judged = judge(model, read_queries(PERSONAS, model), k=K)
    assert sum(judged.unknown_history) == sum(judged.unknown_relevant) == 0


def test_the_model_of_the_demo_knows_the_personas_much_better_than_popularity_does(model: Recommender) -> None:
    record = judge(model, read_queries(PERSONAS, model), k=K).record()
    precision = f"precision@{K}"
    assert record["mean"][precision] > max(0.3, 3 * record["mean_of_most_popular"][precision])
    better = [query for query in record["queries"] if query[precision] > query["most_popular"][precision]]
    assert len(better) > len(record["queries"]) / 2
