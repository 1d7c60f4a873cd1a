from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifact_support import as_version_1
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Pairs
from factorbox.models import ALGORITHMS
from factorbox.recommender import Recommender
from factorbox.report.influences import influences_on
from factorbox.report.people import people_section
from factorbox.report.people_chosen import three_people
from report_models_support import charts, check_sound, facts, inputs_of, rows_of, tables, trained, with_factors, words
from support import clustered_interactions, clustered_ratings, interactions_from_rows


def data_for(algorithm: str, rng: np.random.Generator) -> Interactions:
    return clustered_ratings(rng) if algorithm in ("explicit", "nmf") else clustered_interactions(rng)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recommendations_and_reasons_are_those_of_explain(
    tmp_path: Path, rng: np.random.Generator, algorithm: str
) -> None:
    model = trained(tmp_path, algorithm, data_for(algorithm, rng))
    section = people_section(inputs_of(model))
    check_sound(section)
    assert section.numbers["explains"] == (algorithm != "mlp")
    for user in section.numbers["users"]:
        ranked = model.recommend(user["user_id"])
        assert [row["item_id"] for row in user["recommendations"]] == ranked["item_id"].to_list()
        assert [row["score"] for row in user["recommendations"]] == pytest.approx(ranked["score"].to_list(), rel=1e-4)
        if algorithm == "mlp":
            assert not any(row["influences"] for row in user["recommendations"])
            continue
        reasons = model.explain(user["user_id"], k=1000)
        by_pair = {(row.item_id, row.because_item_id): row.impact for row in reasons.itertuples()}
        for row in user["recommendations"]:
            assert len(row["influences"]) == user["history_items"]
            for reason in row["influences"]:
                expected = by_pair[row["item_id"], reason["item_id"]]
                assert reason["impact"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    if algorithm == "mlp":
        assert "no influences to show" in words(section)
        assert not charts(section)


@pytest.mark.parametrize("options", [{"loss": "logistic", "like_above": 3.0}, {"loss": "poisson"}, {"biases": False}])
def test_other_losses_of_ratings_say_what_their_scores_are(
    tmp_path: Path, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    section = people_section(inputs_of(trained(tmp_path, "explicit", clustered_ratings(rng), **options)))
    check_sound(section)
    (axis,) = {chart.spec["encoding"]["x"]["axis"]["title"] for chart in charts(section)}
    headings = {table.columns[1] for table in tables(section)}
    expected = {
        "logistic": ("influence: added to the log-odds", "Chance of a like"),
        "poisson": ("influence: added to the logarithm of the count", "Expected count"),
    }.get(str(options.get("loss")), ("influence: added to the rating", "Predicted rating"))
    assert (axis, headings) == (expected[0], {"Rating", expected[1]})
    assert ("biases" in words(section)) == options.get("biases", True)


@pytest.mark.parametrize("algorithm", ["als", "explicit"])
def test_impacts_and_baseline_add_up_to_the_score(tmp_path: Path, rng: np.random.Generator, algorithm: str) -> None:
    model = trained(tmp_path, algorithm, data_for(algorithm, rng))
    for person in three_people(model, held_out=None):
        for row in person.recommended:
            assert row.baseline + row.impacts.sum() == pytest.approx(row.score, rel=1e-3, abs=1e-3)


def test_influences_on_all_recommendations_are_the_sums(tmp_path: Path, rng: np.random.Generator) -> None:
    model = trained(tmp_path, "als", clustered_interactions(rng))
    person = three_people(model, held_out=None)[1]
    found = influences_on(model, person)
    assert list(found) == ["all", *(str(rank) for rank in range(1, 11))]
    for entry in found["all"]:
        parts = [e["impact"] for rank in range(1, 11) for e in found[str(rank)] if e["item_id"] == entry["item_id"]]
        assert len(parts) == 10
        assert entry["impact"] == pytest.approx(sum(parts), rel=1e-3)
        assert entry["influence"] == pytest.approx(entry["impact"])


def test_the_20_largest_are_shown_sorted_and_some_of_either_sign(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = [list(rng.choice(60, size=40, replace=False)) for _ in range(30)]
    model = trained(tmp_path, "als", interactions_from_rows(rows, n_items=60))
    person = three_people(model, held_out=None)[0]
    found = influences_on(model, person)
    for rank, row in enumerate(person.recommended, start=1):
        impacts = [entry["impact"] for entry in found[str(rank)]]
        assert len(impacts) == 20
        assert impacts == sorted(impacts, reverse=True)
        negative = sorted(row.impacts[row.impacts < 0].tolist())
        shown = sorted(impact for impact in impacts if impact < 0)
        assert len(shown) >= min(5, len(negative))
        assert shown == pytest.approx(negative[: len(shown)], rel=1e-3)
        assert max(impacts) == pytest.approx(row.impacts.max(), rel=1e-3)


def test_the_reader_chooses_a_recommendation_the_first_to_begin_with(tmp_path: Path, rng: np.random.Generator) -> None:
    model = trained(tmp_path, "als", clustered_interactions(rng), titles=["Same"] * 60)
    section = people_section(inputs_of(model))
    check_sound(section)
    for chart in charts(section):
        (choice,) = chart.spec["params"]
        assert choice["value"] == "1"
        assert choice["bind"]["options"] == [*(str(rank) for rank in range(1, 11)), "all"]
        assert choice["bind"]["labels"][0] == "1. Same"
        bars = [row["item"] for row in rows_of(chart.spec["data"]) if row["of"] == "1"]
        assert len(bars) == len({*bars}) == 10


def test_users_are_chosen_by_the_length_of_their_histories(tmp_path: Path) -> None:
    lengths = [5 + u for u in range(21)]
    rows = [list(range(length)) for length in reversed(lengths)]
    model = trained(tmp_path, "als", interactions_from_rows([*rows, [0], [1, 2]], n_items=30))
    people = three_people(model, held_out=None)
    assert [(person.kind, len(person.items)) for person in people] == [("light", 7), ("typical", 15), ("heavy", 23)]
    assert [(person.kind, person.user) for person in three_people(model, held_out=None)] == [
        (person.kind, person.user) for person in people
    ]


@pytest.mark.parametrize(("n_users", "kinds"), [(1, ["typical"]), (2, ["typical", "heavy"]), (3, None)])
def test_fewer_users_are_all_shown(tmp_path: Path, n_users: int, kinds: list[str] | None) -> None:
    model = trained(tmp_path, "als", interactions_from_rows([[0, u + 1] for u in range(n_users)], n_items=5))
    section = people_section(inputs_of(model))
    check_sound(section)
    assert [user["kind"] for user in section.numbers["users"]] == (kinds or ["light", "typical", "heavy"])


def test_a_user_with_one_interaction_has_a_history_of_one_and_one_reason(tmp_path: Path) -> None:
    section = people_section(inputs_of(trained(tmp_path, "als", interactions_from_rows([[0]], n_items=3))))
    (user,) = section.numbers["users"]
    assert len(user["history"]) == 1
    assert [len(row["influences"]) for row in user["recommendations"]] == [1, 1]


def test_a_user_who_has_everything_is_recommended_nothing(tmp_path: Path) -> None:
    section = people_section(inputs_of(trained(tmp_path, "als", interactions_from_rows([[0]], n_items=1))))
    check_sound(section)
    assert section.numbers["users"][0]["recommendations"] == []
    assert "Nothing is left" in words(section)
    assert not charts(section)


def test_unavailable_items_are_not_recommended(tmp_path: Path, rng: np.random.Generator) -> None:
    model = with_factors(
        tmp_path,
        interactions_from_rows([[0, 1], [1, 2]], n_items=6),
        item_factors=rng.standard_normal((6, 2)),
        unavailable=[3, 4],
    )
    users = people_section(inputs_of(model)).numbers["users"]
    assert all(row["item_id"] not in ("i0003", "i0004") for user in users for row in user["recommendations"])
    assert any(user["recommendations"] for user in users)


def split(rng: np.random.Generator) -> tuple[Interactions, Interactions, Pairs]:
    """Return all interactions, those without the last two of every third user, and these two."""
    whole = clustered_ratings(rng)
    users = np.repeat(np.arange(whole.n_users), np.diff(whole.indptr))
    last = np.concatenate([np.arange(end - 2, end) for user, end in enumerate(whole.indptr[1:]) if user % 3 == 0])
    kept = np.delete(np.arange(whole.n_pairs), last)
    training = Interactions(
        user_ids=whole.user_ids,
        item_ids=whole.item_ids,
        indptr=np.concatenate([[0], np.cumsum(np.bincount(users[kept], minlength=whole.n_users))]),
        item_indices=whole.item_indices[kept],
        weights=whole.weights[kept],
    )
    return whole, training, Pairs(users[last], whole.item_indices[last], whole.weights[last])


@pytest.mark.parametrize(("algorithm", "mark"), [("als", "a hit"), ("explicit", "a hit (")])
@pytest.mark.parametrize("kept_apart", [False, True])
def test_held_out_items_may_be_recommended_and_are_marked(
    tmp_path: Path, rng: np.random.Generator, kept_apart: bool, algorithm: str, mark: str
) -> None:
    """The model may have them among what was seen, as after `refit=false`, or not, as with an own channel."""
    _, training, held_out = split(rng)
    model = trained(tmp_path, algorithm, training, held_out=held_out if kept_apart else None, epochs=15)
    section = people_section(inputs_of(model, held_out=held_out))
    check_sound(section)
    assert "has not been trained on" in section.lead
    for user in section.numbers["users"]:
        (index,) = model.user_ids.indices_of([user["user_id"]])
        assert index % 3 == 0
        own = {f"i{i:04d}" for i in held_out.item_indices[held_out.user_indices == index]}
        history = {model.item_ids[int(i)] for i in training.item_indices[slice(*training.indptr[index : index + 2])]}
        shown = [row["item_id"] for row in user["recommendations"]]
        assert not history & {*shown}
        assert {row["item_id"] for row in user["recommendations"] if row["held_out"]} == own & {*shown}
        best = model.recommend(user["user_id"], exclude_seen=False, exclude_items=sorted(history))
        assert shown == best["item_id"].to_list()
    hits = sum(row["held_out"] for user in section.numbers["users"] for row in user["recommendations"])
    marks = [row[2] for table in tables(section) if "Held out" in table.columns for row in table.rows if row[2]]
    assert len(marks) == hits > 0
    assert all(text.startswith(mark) for text in marks)


def test_after_a_training_on_everything_nothing_is_marked(tmp_path: Path, rng: np.random.Generator) -> None:
    whole, _, held_out = split(rng)
    section = people_section(inputs_of(trained(tmp_path, "explicit", whole), held_out=held_out))
    assert all("Held out" not in table.columns for table in tables(section))
    assert not any(row["held_out"] for user in section.numbers["users"] for row in user["recommendations"])
    assert "do not have yet" in section.lead


def test_ratings_are_shown_and_equal_weights_are_not(tmp_path: Path, rng: np.random.Generator) -> None:
    rated = people_section(inputs_of(trained(tmp_path / "rated", "explicit", clustered_ratings(rng))))
    assert tables(rated)[0].columns == ["Item", "Rating"]
    values = [float(row[1]) for row in tables(rated)[0].rows]
    assert values == sorted(values, reverse=True)
    assert "mean rating" in [label for label, _ in facts(rated)]
    seen = people_section(inputs_of(trained(tmp_path / "seen", "als", clustered_interactions(rng))))
    assert tables(seen)[0].columns == ["Item"]


@pytest.mark.parametrize(
    ("of_first", "shown"), [([2.0] * 10 + [1.0] * 2, ["Item"]), ([3.0] + [1.0] * 11, ["Item", "Weight"])]
)
def test_weights_are_shown_where_some_of_those_that_are_shown_differ(
    tmp_path: Path, of_first: list[float], shown: list[str]
) -> None:
    interactions = interactions_from_rows(
        [list(range(12)), list(range(12, 18))], n_items=18, weights=[of_first, [1.0] * 6]
    )
    model = with_factors(tmp_path, interactions, item_factors=np.eye(18))
    table = next(t for t in tables(people_section(inputs_of(model))) if t.title == "What user u0000 has")
    assert table.columns == shown
    # The rows are chosen by weight all the same.
    assert table.note == "10 of 12: the highest first, of equal ones those that most users have."


def test_models_of_the_first_format_are_explained(tmp_path: Path, rng: np.random.Generator) -> None:
    trained(tmp_path, "als", clustered_interactions(rng))
    as_version_1(tmp_path)
    section = people_section(inputs_of(Recommender.load(tmp_path)))
    check_sound(section)
    assert len(charts(section)) == 3
