from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factorbox.data.activity import Activity
from factorbox.data.splits import Pairs
from factorbox.recommender import Recommender
from factorbox.report.blocks import Download, Row, Section, Table, Text
from factorbox.report.data_section import data_section
from factorbox.report.inputs import ReportInputs
from report_sections_support import assert_charts_compile, charts_of, every, facts_of, model_of, rows_of, texts_of

ROWS = [[0, 1, 2], [0], [0, 1]]
WEIGHTS = [[5.0, 3.0, 1.0], [4.0], [2.0, 0.5]]
ACTIVITY = Activity(np.array([10_000, 10_010]), np.array([4, 2]))
ODD = "<b>&\"'\n\u202e" + "🙂" * 1_000
ODD_IDS = sorted([ODD + "a", ODD + "b", "=1+1", '","', " "])


def inputs_of(model: Recommender, **more: Any) -> ReportInputs:
    return ReportInputs(model=model, evaluation=None, measured="", **more)


def table_of(section: Section) -> Table:
    (table,) = [block for block in every(section.blocks) if isinstance(block, Table)]
    return table


def csv_of(section: Section) -> list[list[str]]:
    (download,) = [block for block in every(section.blocks) if isinstance(block, Download)]
    return list(csv.reader(io.StringIO(download.content, newline="")))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return model_of(tmp_path_factory.mktemp("model"), ROWS, n_items=4, weights=WEIGHTS, titles=["A", "B", None, "A"])


def test_the_numbers_are_those_of_the_data(small: Recommender) -> None:
    section = data_section(inputs_of(small, activity=ACTIVITY))
    assert section.numbers["counts"] == {
        "users": 3,
        "items": 4,
        "interactions": 6,
        "density": 0.5,
        "mean_per_user": 2.0,
        "median_per_user": 2.0,
        "mean_per_item": 1.5,
        "median_per_item": 1.5,
        "first_day": "1997-05-19",
        "last_day": "1997-05-29",
    }
    assert section.numbers["long_tail"] == {
        "top_items": 1,
        "share_of_top_items": 0.5,
        "items_for_half": 1,
        "curve": {
            "rank": [1, 2, 3, 4],
            "interactions": [3, 2, 1, 0],
            "cumulative_share": [0.5, pytest.approx(5 / 6), 1.0, 1.0],
        },
    }
    assert section.numbers["interactions_per_user"] == {"edges": [1, 2, 3, 4], "counts": [1, 1, 1]}
    assert section.numbers["values"] == {"name": "weight", "values": [0.5, 1, 2, 3, 4, 5], "counts": [1] * 6}
    assert section.numbers["activity"]["starts"][0] == "1997-05-19"
    assert section.numbers["activity"]["rows"] == [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]


def test_what_is_shown_says_the_same(small: Recommender) -> None:
    section = data_section(inputs_of(small, activity=ACTIVITY))
    assert facts_of(section) == {"users": "3", "items": "4", "interactions": "6", "of all pairs are known": "50.0%"}
    assert "from 19 May 1997 to 29 May 1997" in texts_of(section)
    assert "most popular item is 50.0% of the interactions" in texts_of(section)
    assert charts_of(section).keys() == {
        "Popularity of the items",
        "How much the most popular items make up",
        "Interactions per user",
        "Weights",
        "Activity over time",
        "The busiest users and the most popular items",
        "As the model predicts it",
    }


def test_the_busiest_corner_is_the_same_as_chart_table_and_csv(small: Recommender) -> None:
    section = data_section(inputs_of(small))
    found = section.numbers["busiest"]
    assert found["users"] == ["u000000", "u000002", "u000001"]
    assert found["items"] == ["i000000", "i000001", "i000002", "i000003"]
    assert found["values"] == [[5, 3, 1, None], [2, 0.5, None, None], [4, None, None, None]]
    table = table_of(section)
    # Two items of one title have their ids behind it.
    assert table.columns == ["User", "A (i000000)", "B", "i000002", "A (i000003)"]
    assert [list(row[1:]) for row in table.rows] == [["5", "3", "1", ""], ["2", "0.5", "", ""], ["4", "", "", ""]]
    header, *rows = csv_of(section)
    assert header == ["user_id", *found["items"]]
    assert rows == [[user, *row[1:]] for user, row in zip(found["users"], table.rows, strict=True)]
    (chart,) = [chart for title, chart in charts_of(section).items() if title.startswith("The busiest")]
    drawn = {(row["user"], row["item"]): row["text"] for row in rows_of(chart.spec["data"])}
    assert drawn == {
        (row[0], item): text
        for row in table.rows
        for item, text in zip(table.columns[1:], row[1:], strict=True)
        if text
    }


def test_the_whole_matrix_is_shown_with_splits_and_predictions(small: Recommender) -> None:
    held_out = Pairs(np.array([0, 2]), np.array([2, 1], np.int32), np.array([1, 0.5], np.float32))
    section = data_section(inputs_of(small, held_out=held_out))
    found = section.numbers["matrix"]
    assert found["is_whole"] and found["chosen"] == "3 users by 4 items"
    users, items = small.user_ids.indices_of(found["users"]), small.item_ids.indices_of(found["items"])
    values = np.full((3, 4), np.nan)
    splits = np.zeros((3, 4))
    for user, (row, weights) in enumerate(zip(ROWS, WEIGHTS, strict=True)):
        values[user, row], splits[user, row] = weights, 1
    splits[[0, 2], [2, 1]] = 2
    at = np.ix_(users, items)
    np.testing.assert_array_equal(np.array(found["values"], np.float64), values[at])
    assert found["splits"] == splits[at].tolist()
    predicted = small.user_factors @ small.item_factors.T + small.user_biases[:, None] + small.item_biases
    np.testing.assert_allclose(found["predicted"], predicted[at], rtol=1e-5)
    charts = charts_of(section)
    assert [round(value, 2) for value in charts["As the model predicts it"].spec["data"]["values"]] == [
        round(value, 2) for row in found["predicted"] for value in row
    ]
    assert charts["What each pair was used for"].spec["data"]["values"] == np.array(found["splits"]).ravel().tolist()
    # What the order is stands above the pictures, all three side by side.
    said, pictures = section.blocks[-2:]
    assert isinstance(said, Text) and "Rows and columns stand in the order" in said.text
    assert isinstance(pictures, Row) and len(pictures.blocks) == 3


def test_equal_weights_are_not_drawn_but_what_they_were_used_for_is(tmp_path: Path) -> None:
    section = data_section(inputs_of(model_of(tmp_path, ROWS, n_items=3)))
    assert section.numbers["values"] == {"name": "weight", "values": [1.0], "counts": [6]}
    assert "Weights" not in charts_of(section) and "What each pair was used for" in charts_of(section)


def test_ratings_of_both_signs_share_their_colours_with_predictions(tmp_path: Path) -> None:
    weights = [[-10.0, 9.75, 0.0], [3.0], [-2.0, 1.0]]
    section = data_section(inputs_of(model_of(tmp_path, ROWS, n_items=3, weights=weights, algorithm="explicit")))
    assert section.numbers["values"]["name"] == "rating"
    charts = charts_of(section)
    assert charts.keys() >= {"Ratings", "As the model predicts it"}
    scale = charts["As the model predicts it"].spec["encoding"]["color"]["condition"]["scale"]
    assert scale["domain"] == [-10, 10] and scale["domainMid"] == 0
    assert {row["value"] for row in rows_of(charts["The busiest users and the most popular items"].spec["data"])} == {
        -10.0,
        9.75,
        0.0,
        3.0,
        -2.0,
        1.0,
    }


def large_rows(n_users: int, n_items: int) -> Sequence[Sequence[int]]:
    rng = np.random.default_rng(0)
    popular = rng.permutation(n_items)
    return [sorted(popular[: 1 + int(n)].tolist()) for n in rng.integers(0, n_items, n_users)]


def test_of_large_data_the_same_part_is_shown_each_time_and_that_is_said(tmp_path: Path) -> None:
    inputs = inputs_of(model_of(tmp_path, large_rows(450, 230), n_items=230))
    section = data_section(inputs)
    found = section.numbers["matrix"]
    assert not found["is_whole"] and len(found["users"]) == len(found["items"]) == 200
    assert len(found["values"]) == 200 and {len(row) for row in found["values"]} == {200}
    said = (
        "200 of 450 users, at equal distances from the busiest to the least busy, by the 200 most popular of 230 items"
    )
    assert found["chosen"] == said and f"A part of the matrix, each row a user and each column an item: {said}." in (
        texts_of(section)
    )
    assert data_section(inputs) == section


def hostile(folder: Path) -> Mapping[str, ReportInputs]:
    """Make inputs that have little or much of something."""
    odd = model_of(
        folder / "odd", [[0, 1, 2, 3, 4], [0], [1, 4], [2], [4]], n_items=5, user_ids=ODD_IDS, item_ids=ODD_IDS
    )
    many = [[0.5 * i + 0.25 * u for i in range(40)] for u in range(3)]
    tens = model_of(folder / "ten", [[u % 5, 5 + u % 3] for u in range(5)], n_items=8)
    return {
        "one of each": inputs_of(model_of(folder / "one", [[0]], n_items=1), activity=Activity(*np.array([[5], [1]]))),
        "one user": inputs_of(model_of(folder / "user", [[0, 2, 3]], n_items=4)),
        "one item": inputs_of(model_of(folder / "item", [[0], [0], [0]], n_items=1)),
        "ten pairs": inputs_of(tens),
        "ids that hurt": inputs_of(odd),
        "many values": inputs_of(
            model_of(folder / "values", [list(range(40))] * 3, n_items=40, weights=many, algorithm="explicit")
        ),
        "huge counts": inputs_of(
            model_of(
                folder / "huge", [list(range(40))] * 3, n_items=40, weights=[np.geomspace(1, 3e38, 40).tolist()] * 3
            )
        ),
        "a user without anything": inputs_of(model_of(folder / "empty", [[0, 1], [], [1]], n_items=3)),
        "nothing at all": replace(
            inputs_of(model_of(folder / "nothing", [[], []], n_items=2)),
            activity=Activity(np.zeros(0, np.int64), np.zeros(0, np.int64)),
        ),
        "held out elsewhere": inputs_of(
            tens, held_out=Pairs(np.array([0, 4]), np.array([4, 0], np.int32), np.array([2, 7], np.float32))
        ),
        "years of time": inputs_of(tens, activity=Activity(np.arange(0, 40_000, 7), np.arange(1, 5_716))),
    }


def test_all_data_have_a_section_whose_charts_vega_lite_takes(tmp_path: Path) -> None:
    for name in ("odd", "ten", "one", "user", "item", "values", "huge", "empty", "nothing"):
        (tmp_path / name).mkdir()
    sections = {name: data_section(inputs) for name, inputs in hostile(tmp_path).items()}
    for name, section in sections.items():
        json.dumps(section.numbers, allow_nan=False)
        assert facts_of(section), name
        for chart in charts_of(section).values():
            json.dumps(chart.spec, allow_nan=False)
    assert_charts_compile(list(sections.values()))


def test_ids_that_hurt_are_short_in_the_page_and_whole_in_the_csv(tmp_path: Path) -> None:
    model = model_of(tmp_path, [[0, 1, 2, 3, 4], [0], [1, 4], [2], [4]], n_items=5, user_ids=ODD_IDS, item_ids=ODD_IDS)
    section = data_section(inputs_of(model))
    header, *rows = csv_of(section)
    assert sorted(header[1:]) == ODD_IDS and sorted(row[0] for row in rows) == ODD_IDS
    table = table_of(section)
    assert all(len(label) <= 40 and "\n" not in label for label in [*table.columns, *(row[0] for row in table.rows)])
    # Two that begin alike are two rows all the same.
    assert len({row[0] for row in table.rows}) == len(table.rows) == 5
    assert len(set(table.columns)) == 6
