from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factorbox
from factorbox import artifact
from factorbox.__main__ import main
from factorbox.commands.evaluate import Evaluated, evaluate_on
from factorbox.data.columns import ReadOptions
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.models import ALGORITHMS
from factorbox.options import options_of
from factorbox.recommender import Recommender
from film_model import pack, save_films
from support import interactions_from_rows

LOG_3 = 1 / np.log2(3)
OUTSIDE = "viewer,item\nann,charade\nann,alien\nbob,nobody\nzoe,diva\ncleo,diva\n"


@pytest.fixture
def films(tmp_path: Path) -> Recommender:
    return factorbox.load(save_films(tmp_path / "model"))


def measured(model: Recommender, folder: Path, text: str, **wanted: Any) -> Evaluated:
    path = folder / "data.csv"
    path.write_text(text)
    return evaluate_on(model, path, threads=1, **wanted)


def test_metrics_are_those_of_a_hand_worked_case(films: Recommender, tmp_path: Path) -> None:
    # ann has not seen diva (0.7) and charade (0.4); cleo has not seen diva (1.0) and alien (0.4).
    found = measured(films, tmp_path, OUTSIDE)
    values = {name: estimate.value for name, estimate in found.evaluation.metrics.items()}
    assert (found.evaluation.users, found.evaluation.pairs, found.evaluation.k) == (2, 2, 10)
    assert values["ndcg@10"] == pytest.approx((LOG_3 + 1) / 2)
    assert values["mrr@10"] == values["map@10"] == 0.75
    assert (values["precision@10"], values["recall@10"], values["hit_rate@10"]) == (0.1, 1.0, 1.0)
    # charade is ahead of diva in popularity; of the items that one user has, the first is alien.
    assert found.evaluation.baseline["mrr@10"].value == 0.75
    assert not {"rmse", "mae"} & found.evaluation.metrics.keys()


def test_what_is_left_out_is_counted_and_said(films: Recommender, tmp_path: Path) -> None:
    found = measured(films, tmp_path, OUTSIDE)
    assert found.record()["left_out"] == {
        "unknown_users": 1,
        "unknown_items": 1,
        "pairs_of_unknown": 2,
        "pairs_in_training": 1,
        "rows_below_min_rating": 0,
    }
    assert found.summary.splitlines() == [
        "2 interactions of 2 users.",
        "Left out: 2 interactions of 1 user and 1 item that the model does not know.",
        "Left out: 1 interaction that the model was trained on.",
    ]


def test_k_is_the_length_of_the_rankings(films: Recommender, tmp_path: Path) -> None:
    found = measured(films, tmp_path, OUTSIDE, k=1)
    assert found.evaluation.metrics["recall@1"].value == 0.5
    assert "ndcg@1 " in found.table() and "@10" not in found.table()


@pytest.mark.parametrize("k", [11, 10**8, 10**23])
def test_rankings_longer_than_the_catalogue_are_refused(films: Recommender, tmp_path: Path, k: int) -> None:
    # Before anything is read: there is no such file.
    with pytest.raises(UserError, match=rf"^--k {k} is more than the 4 items of the model: give a smaller one$"):
        evaluate_on(films, tmp_path / "none.csv", k=k, threads=1)


def test_the_usual_length_goes_with_a_smaller_catalogue(films: Recommender, tmp_path: Path) -> None:
    assert measured(films, tmp_path, OUTSIDE, k=10).evaluation.metrics["precision@10"].value == 0.1


def test_any_number_of_users_may_be_allowed(films: Recommender, tmp_path: Path) -> None:
    assert measured(films, tmp_path, OUTSIDE, most_users=10**23).evaluation.users == 2


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        ([(0, 2)], "1 of them was held out in the training of the model."),
        ([(0, 2), (1, 0), (2, 3)], "All of them were held out in the training of the model."),
        ([(1, 0)], None),
    ],
)
def test_pairs_that_training_held_out_are_measured_and_counted(
    tmp_path: Path, held_out: list[tuple[int, int]], words: str | None
) -> None:
    users, items = zip(*held_out, strict=True)
    pairs = Pairs(np.array(users), np.array(items, dtype=np.int32), np.ones(len(users), dtype=np.float32))
    found = measured(factorbox.load(save_films(tmp_path / "model", held_out=pairs)), tmp_path, OUTSIDE)
    assert found.evaluation.pairs == 2
    assert found.record()["held_out_in_training"] == sum(pair in [(0, 2), (2, 3)] for pair in held_out)
    assert [line for line in found.summary.splitlines() if "held out" in line] == ([words] if words else [])


def test_one_pair_alone_that_training_held_out_is_spoken_of_as_one(tmp_path: Path) -> None:
    pairs = Pairs(np.array([2]), np.array([3], dtype=np.int32), np.ones(1, dtype=np.float32))
    model = factorbox.load(save_films(tmp_path / "model", held_out=pairs))
    found = measured(model, tmp_path, "viewer,item\ncleo,diva\n")
    assert found.summary == "1 interaction of 1 user.\nIt was held out in the training of the model."


def test_the_table_shows_each_metric_beside_its_baseline(films: Recommender, tmp_path: Path) -> None:
    head, *rows = measured(films, tmp_path, OUTSIDE).table().splitlines()
    assert head.split() == ["metric", "model", "95%", "interval", "beside", "95%", "interval"]
    assert [row.split()[0] for row in rows] == [
        *("ndcg@10", "precision@10", "recall@10", "map@10", "mrr@10", "hit_rate@10", "auc", "coverage@10")
    ]
    assert all("most popular" in row for row in rows)
    assert rows[2].split()[1:5] == ["1.0000", "1.0000", "to", "1.0000"]


def test_users_are_drawn_by_the_model_s_seed_where_there_are_more(films: Recommender, tmp_path: Path) -> None:
    first, again = (measured(films, tmp_path, OUTSIDE, most_users=1) for _ in range(2))
    assert first.evaluation.users == 1 and first.users_with_pairs == 2
    assert first.record() == again.record()
    assert first.summary.startswith("1 interaction of 1 user, drawn from 2.")


def test_unavailable_items_are_not_ranked(films: Recommender, tmp_path: Path) -> None:
    artifact.replace_available(tmp_path / "model", model=films.artifact, available=np.array([True, True, True, False]))
    found = measured(factorbox.load(tmp_path / "model"), tmp_path, OUTSIDE)
    # ann's charade is first now, and cleo's diva does not count.
    assert found.evaluation.users == found.evaluation.pairs == 1
    assert found.evaluation.metrics["mrr@10"].value == 1


def test_data_of_unavailable_items_alone_are_refused(films: Recommender, tmp_path: Path) -> None:
    artifact.replace_available(tmp_path / "model", model=films.artifact, available=np.zeros(4, dtype=np.bool_))
    with pytest.raises(UserError, match=r"none of the items of .* that the model knows is available"):
        measured(factorbox.load(tmp_path / "model"), tmp_path, OUTSIDE)


def test_data_are_read_as_the_training_data_were_unless_told_otherwise(films: Recommender, tmp_path: Path) -> None:
    other = OUTSIDE.replace(",", ";").replace("viewer;item", "who;what")
    with pytest.raises(UserError, match="viewer"):
        measured(films, tmp_path, other)
    told = {"user_column": "who", "item_column": "what", "delimiter": ";"}
    assert measured(films, tmp_path, other, reading=told).record() == measured(films, tmp_path, OUTSIDE).record()


def rating_model(folder: Path, **reading: Any) -> Recommender:
    """Train a model of ratings in which even users like even items."""
    rows = [[item for item in range(8) if (item + user) % 4] for user in range(12)]
    interactions = interactions_from_rows(rows, n_items=8)
    owners = np.repeat(np.arange(12), np.diff(interactions.indptr))
    liked = (owners + interactions.item_indices) % 2 == 0
    interactions.weights[:] = np.where(liked, 5, 2)
    explicit = ALGORITHMS["explicit"]
    config = explicit.resolved(explicit.config(embedding_dim=2), interactions=interactions)
    factors = explicit.fit(interactions, config=config, random_state=0)
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm="explicit",
        hyperparameters={**asdict(config), **reading},
        metrics={},
    )
    return factorbox.load(folder)


def rating_data(model: Recommender) -> str:
    """Return ratings of pairs that the model does not have."""
    rows = ["user,item,rating"]
    for user in range(12):
        rows += [
            f"{model.user_ids[user]},{model.item_ids[item]},{5 - 3 * ((item + user) % 2)}"
            for item in range(8)
            if (item + user) % 4 == 0
        ]
    return "\n".join(rows)


def test_a_model_of_ratings_is_measured_by_its_errors_too(tmp_path: Path) -> None:
    model = rating_model(tmp_path / "model")
    found = measured(model, tmp_path, rating_data(model))
    assert found.evaluation.metrics["rmse"].value >= found.evaluation.metrics["mae"].value > 0
    assert found.evaluation.baseline.keys() == found.evaluation.metrics.keys()
    assert [row.split()[0] for row in found.table().splitlines()][-2:] == ["rmse", "mae"]
    assert "mean ratings" in found.table()


def test_rows_below_the_model_s_min_rating_are_left_out(tmp_path: Path) -> None:
    model = rating_model(tmp_path / "model", min_rating=3.0)
    text = rating_data(model) + f"\n{model.user_ids[0]},{model.item_ids[4]},1\n"
    found = measured(model, tmp_path, text)
    assert found.record()["left_out"]["rows_below_min_rating"] == 1
    assert "Left out: 1 row below min_rating." in found.summary
    # With filters=any a row may be kept by another filter, so training has read them all.
    model = rating_model(tmp_path / "other", min_rating=3.0, min_item_interactions=1, filters="any")
    assert measured(model, tmp_path, text).record()["left_out"]["rows_below_min_rating"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("viewer,item\nann,alien\nbob,charade\n", "was trained on all 2 interactions of the data"),
        ("viewer,item\nx1,alien\nx2,diva\n", "no user id of the data, such as 'x1', is known .* such as 'ann'"),
        ("viewer,item\nann,f1\nbob,f2\n", "no item id of the data, such as 'f1', is known .* such as 'alien'"),
        ("viewer,item\nx1,f1\n", "no user id .* and no item id .*: ids are compared as text"),
        ("viewer,item\nann,f1\nx1,alien\n", "no interaction of the data is of a user and an item"),
        ("viewer,item\n", "no rows"),
        ("", "empty"),
        ("who,item\nann,alien\n", "viewer"),
    ],
)
def test_data_that_measure_nothing_are_refused(films: Recommender, tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        measured(films, tmp_path, text)


def test_the_command_prints_a_table_or_all_numbers(
    films: Recommender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = measured(films, tmp_path, OUTSIDE)
    data, archive = tmp_path / "data.csv", pack(tmp_path / "model", tmp_path / "model.tar.gz")
    assert main(["evaluate", str(archive), str(data)]) == 0
    assert capsys.readouterr().out == f"{expected.summary}\n\n{expected.table()}\n"
    assert main(["evaluate", str(archive), str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected.record()))


def test_the_command_hands_every_option_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rating_model(tmp_path / "model")
    text = rating_data(model).replace("user,item,rating", "who,what,stars").replace(",", "\t")
    (tmp_path / "data.csv").write_text(text)
    reading = ["--user-column", "who", "--item-column", "what", "--weight-column", "stars", "--delimiter", "tab"]
    options = [*reading, "--min-rating", "3", "--users", "4", "--k", "3", "--json"]
    assert main(["evaluate", str(tmp_path / "model"), str(tmp_path / "data.csv"), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["k"], printed["users"]) == (3, 4)
    assert printed["left_out"]["rows_below_min_rating"] == text.count("\t2")


def test_every_way_to_read_data_has_an_option() -> None:
    from factorbox.__main__ import _READING

    assert set(_READING) == options_of(ReadOptions).keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ["m"],
        ["m", "d", "--queries", "q"],
        ["m", "d", "--k", "0"],
        ["m", "d", "--users", "many"],
        ["m", "--queries", "q", "--min-rating", "3"],
        ["m", ""],
        ["m", "--queries", ""],
    ],
)
def test_bad_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", *arguments])
    assert exit.value.code == 2
    assert "usage: python -m factorbox evaluate" in capsys.readouterr().err


def test_too_little_memory_is_one_sentence_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: Any, **__: Any) -> Evaluated:
        raise MemoryError

    model = save_films(tmp_path / "model")
    monkeypatch.setattr("factorbox.commands.evaluate.evaluate_on", greedy)
    assert main(["evaluate", str(model), "data.csv"]) == 2
    assert capsys.readouterr().err.startswith("factorbox: there is too little memory for this: ask for less")


def test_what_is_refused_is_one_sentence_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(save_films(tmp_path / "model")), str(tmp_path / "none.csv")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("factorbox: ") and printed.err.count("\n") == 1
