from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factorbox.models import ALGORITHMS
from factorbox.report.embeddings import embeddings_section
from report_models_support import charts, check_sound, inputs_of, rows_of, trained, with_factors, words
from support import clustered_interactions, clustered_ratings, interactions_from_rows


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_both_sides_of_every_algorithm_are_shown(tmp_path: Path, rng: np.random.Generator, algorithm: str) -> None:
    data = clustered_ratings(rng) if algorithm in ("explicit", "nmf") else clustered_interactions(rng)
    section = embeddings_section(inputs_of(trained(tmp_path, algorithm, data)))
    check_sound(section)
    assert [chart.title for chart in charts(section)] == ["All 120 users", "All 60 items"]
    assert ("hidden layer" in words(section)) == (algorithm == "mlp")


def test_every_cell_is_a_number_of_the_model(tmp_path: Path, rng: np.random.Generator) -> None:
    model = trained(tmp_path, "als", clustered_interactions(rng), titles=[f"Film {i}" for i in range(60)])
    section = embeddings_section(inputs_of(model))
    users, items = (rows_of(chart.spec["data"]) for chart in charts(section))
    for cell in users:
        (index,) = model.user_ids.indices_of([cell["label"]])
        assert cell["value"] == pytest.approx(model.user_factors[index, cell["dimension"] - 1], abs=1e-3)
    for cell in items:
        index = int(cell["label"].removeprefix("Film "))
        assert cell["value"] == pytest.approx(model.item_factors[index, cell["dimension"] - 1], abs=1e-3)
    assert len(users) == 120 * 4 and len(items) == 60 * 4
    assert section.numbers["items"]["ids"][0] == f"i{int(items[0]['label'].removeprefix('Film ')):04d}"


def test_zero_has_the_colour_in_the_middle(tmp_path: Path, rng: np.random.Generator) -> None:
    section = embeddings_section(inputs_of(trained(tmp_path, "nmf", clustered_ratings(rng))))
    for chart in charts(section):
        scale = chart.spec["encoding"]["color"]["scale"]
        assert scale["domainMid"] == 0
        assert scale["domain"][0] == -scale["domain"][1] < 0


def test_of_many_the_busiest_and_the_most_popular_are_shown(tmp_path: Path) -> None:
    rows = [list(range(1 + (7 * u) % 250)) for u in range(300)]
    interactions = interactions_from_rows(rows, n_items=251)
    factors = np.random.default_rng(2).standard_normal((251, 3))
    section = embeddings_section(inputs_of(with_factors(tmp_path, interactions, item_factors=factors)))
    assert [chart.title for chart in charts(section)] == [
        "The 100 busiest of 300 users",
        "The 100 most popular of 251 items",
    ]
    lengths = {f"u{u:04d}": len(row) for u, row in enumerate(rows)}
    shown = section.numbers["users"]["ids"]
    assert sorted((lengths[user] for user in shown), reverse=True) == sorted(lengths.values(), reverse=True)[:100]
    assert {*section.numbers["items"]["ids"]} == {f"i{i:04d}" for i in range(100)}


def test_of_many_dimensions_those_that_add_most_to_scores_are_shown(tmp_path: Path) -> None:
    factors = np.random.default_rng(4).standard_normal((6, 70)) * np.arange(1, 71)
    interactions = interactions_from_rows([[0, 1, 2, 3, 4, 5]] * 30, n_items=6)
    model = with_factors(tmp_path, interactions, item_factors=factors)
    section = embeddings_section(inputs_of(model))
    users, items = ((side.astype(float) ** 2).mean(axis=0) for side in (model.user_factors, model.item_factors))
    assert section.numbers["dimensions"] == (np.argsort(-users * items)[:64] + 1).tolist()
    assert "Of 70 dimensions the first 64" in words(section)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_vectors_and_a_single_pair_are_pictures_too(tmp_path: Path, value: float) -> None:
    model = with_factors(
        tmp_path, interactions_from_rows([[0]], n_items=1), item_factors=np.full((1, 1), value), titles=["<b>&"]
    )
    section = embeddings_section(inputs_of(model))
    check_sound(section)
    assert [chart.title for chart in charts(section)] == ["The only user", "The only item"]
    assert section.numbers["items"]["values"] == [[value]]
