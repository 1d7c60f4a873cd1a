from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifact_support import as_version_1
from factorbox.models import ALGORITHMS
from factorbox.recommender import Recommender
from factorbox.report.item_space import item_space_section
from report_models_support import charts, check_sound, inputs_of, rows_of, tables, trained, with_factors, words
from support import clustered_interactions, clustered_ratings, interactions_from_rows

BIASED = ("softmax", "bpr", "hinge", "adaptive_hinge", "pointwise", "explicit")


def many_items(tmp_path: Path, n_items: int, *, d: int = 5, algorithm: str = "als", **given: object) -> Recommender:
    """Item i is had by the first n − i users, so that it has popularity rank i + 1."""
    rng = np.random.default_rng(3)
    n_users = 40
    rows = [[i for i in range(n_items) if i * n_users < (n_users - u) * n_items] for u in range(n_users)]
    interactions = interactions_from_rows(rows, n_items=n_items)
    factors = rng.standard_normal((n_items, d)) * np.arange(d, 0, -1)
    return with_factors(tmp_path, interactions, item_factors=factors, algorithm=algorithm, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_an_item_space(tmp_path: Path, rng: np.random.Generator, algorithm: str) -> None:
    data = clustered_ratings(rng) if algorithm in ("explicit", "nmf") else clustered_interactions(rng)
    section = item_space_section(inputs_of(trained(tmp_path, algorithm, data)))
    check_sound(section)
    assert len(section.numbers["components"]) == 3
    assert (section.numbers["biases"] is not None) == (algorithm in BIASED)
    assert len(charts(section)) == (3 if algorithm in BIASED else 1)
    if algorithm not in BIASED:
        assert f"{algorithm} has none" in words(section)
    assert ("hidden layer" in words(section)) == (algorithm == "mlp")


def test_the_ends_of_a_component_are_the_items_farthest_along_it(tmp_path: Path) -> None:
    model = many_items(tmp_path, 60)
    section = item_space_section(inputs_of(model))
    centred = model.item_factors - model.item_factors.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    for k, component in enumerate(section.numbers["components"]):
        along = centred @ directions[k]
        along *= np.sign(along[np.abs(along).argmax()])
        order = np.argsort(along)
        assert [entry["item_id"] for entry in component["low"]] == [model.item_ids[i] for i in order[:10]]
        assert [entry["item_id"] for entry in component["high"]] == [model.item_ids[i] for i in order[::-1][:10]]
        assert component["high"][0]["coordinate"] == pytest.approx(along.max(), rel=1e-4)
        assert component["explained_variance"] == pytest.approx(singular[k] ** 2 / (singular**2).sum(), rel=1e-4)
        shown = [(low["label"], high["label"]) for low, high in zip(component["low"], component["high"], strict=True)]
        assert tables(section)[k].rows == shown


def test_no_item_stands_at_both_ends(tmp_path: Path) -> None:
    section = item_space_section(inputs_of(many_items(tmp_path, 7)))
    for component in section.numbers["components"]:
        assert len(component["low"]) == len(component["high"]) == 3
        assert not {entry["item_id"] for entry in component["low"]} & {e["item_id"] for e in component["high"]}


def test_only_the_most_popular_are_looked_at_and_the_report_says_so(tmp_path: Path) -> None:
    model = many_items(tmp_path, 2500)
    section = item_space_section(inputs_of(model))
    assert "2,000 most popular of 2,500 items" in section.lead
    assert section.numbers["shown_items"] == 2000
    users = section.numbers["points"]["users"]
    assert users == sorted(users, reverse=True)
    assert len(rows_of(charts(section)[0].spec["data"])) == 2000


def test_components_1_and_3_are_shown_first_and_ranks_50_to_100_have_labels(tmp_path: Path) -> None:
    section = item_space_section(inputs_of(many_items(tmp_path, 300)))
    spec = charts(section)[0].spec
    chosen = {param["name"]: param for param in spec["params"]}
    assert (chosen["across"]["value"], chosen["up"]["value"]) == ("1", "3")
    assert chosen["across"]["bind"]["options"] == ["1", "2", "3"]
    assert chosen["labelled"]["bind"]["input"] == "checkbox"
    assert section.numbers["labelled_ranks"] == [50, 100]
    titles = section.numbers["points"]["label"]
    labelled = next(layer["data"] for layer in spec["layer"] if "data" in layer)
    assert [row["title"] for row in rows_of(labelled)] == titles[49:100]
    for size in ("wide", "narrow"):
        places = [row[f"all_{size}_13"] for row in rows_of(labelled)]
        assert sum(place > 0 for place in places) >= 10


def test_pointing_at_an_item_tells_its_title(tmp_path: Path) -> None:
    titles: list[str | None] = [f'Film <{i}> & "more" 🎬' for i in range(20)]
    section = item_space_section(inputs_of(many_items(tmp_path, 20, titles=titles)))
    check_sound(section)
    spec = charts(section)[0].spec
    assert spec["layer"][0]["encoding"]["tooltip"][0]["field"] == "title"
    assert [row["title"] for row in rows_of(spec["data"])] == titles


@pytest.mark.parametrize(("d", "components"), [(1, 1), (2, 2), (3, 3), (8, 3)])
def test_there_are_as_many_components_as_dimensions_at_most_three(tmp_path: Path, d: int, components: int) -> None:
    section = item_space_section(inputs_of(many_items(tmp_path, 30, d=d)))
    check_sound(section)
    assert len(section.numbers["components"]) == len(tables(section)) == components
    bound = [param["name"] for param in charts(section)[0].spec["params"] if "bind" in param]
    assert ("across" in bound) == (components > 1)


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_a_few_items_are_shown_as_far_as_they_differ(tmp_path: Path, n_items: int) -> None:
    interactions = interactions_from_rows([list(range(n_items))], n_items=n_items)
    factors = np.random.default_rng(1).standard_normal((n_items, 4))
    section = item_space_section(inputs_of(with_factors(tmp_path, interactions, item_factors=factors)))
    check_sound(section)
    assert len(section.numbers["components"]) == n_items - 1
    if n_items == 1:
        assert "single item" in words(section)
        assert "only item" in section.lead


def test_equal_items_have_no_space(tmp_path: Path) -> None:
    model = many_items(tmp_path, 5)
    equal = with_factors(
        tmp_path / "equal", interactions_from_rows([[0, 1]], n_items=5), item_factors=np.full((5, 3), 0.1)
    )
    section = item_space_section(inputs_of(equal))
    check_sound(section)
    assert section.numbers["components"] == []
    assert section.numbers["labelled_ranks"] is None
    assert "same vector" in words(section)
    assert item_space_section(inputs_of(model)).numbers["components"]


def test_the_items_of_the_highest_and_lowest_bias_are_shown(tmp_path: Path) -> None:
    biases = np.random.default_rng(5).standard_normal(50)
    model = many_items(tmp_path, 50, algorithm="bpr", item_biases=biases)
    section = item_space_section(inputs_of(model))
    check_sound(section)
    order = np.argsort(biases)
    found = section.numbers["biases"]
    assert [entry["item_id"] for entry in found["lowest"]] == [f"i{i:04d}" for i in order[:15]]
    assert [entry["item_id"] for entry in found["highest"]] == [f"i{i:04d}" for i in order[::-1][:15]]
    bars = rows_of(charts(section)[1].spec["data"])
    assert [bar["bias"] for bar in bars] == pytest.approx(np.sort(biases)[::-1][:15], rel=1e-4)


def test_biases_of_one_item_are_shown_once(tmp_path: Path) -> None:
    interactions = interactions_from_rows([[0]], n_items=1)
    model = with_factors(
        tmp_path, interactions, item_factors=np.ones((1, 2)), item_biases=np.array([0.3]), algorithm="bpr"
    )
    section = item_space_section(inputs_of(model))
    check_sound(section)
    assert list(section.numbers["biases"]) == ["highest"]


def test_a_component_that_goes_with_popularity_says_so(tmp_path: Path) -> None:
    rows = [[i for i in range(20) if i <= u] for u in range(20)]
    users = 20 - np.arange(20)
    interactions = interactions_from_rows(rows, n_items=20)
    model = with_factors(tmp_path, interactions, item_factors=np.log(users)[:, None] * [[1.0, 2.0]])
    section = item_space_section(inputs_of(model))
    assert abs(section.numbers["components"][0]["correlation_with_popularity"]) == pytest.approx(1, abs=1e-4)
    assert "Popular items lie towards" in words(section)


def test_models_of_the_first_format_have_an_item_space(tmp_path: Path, rng: np.random.Generator) -> None:
    trained(tmp_path, "als", clustered_interactions(rng))
    as_version_1(tmp_path)
    check_sound(item_space_section(inputs_of(Recommender.load(tmp_path))))
