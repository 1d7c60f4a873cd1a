from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factorbox
from factorbox import artifact
from factorbox.__main__ import main
from factorbox.commands.evaluate_queries import JudgedQueries, judge, read_queries
from factorbox.errors import PlatformError, UserError
from factorbox.recommender import Recommender
from film_model import save_films

LOG_3 = 1 / np.log2(3)


@pytest.fixture
def films(tmp_path: Path) -> Recommender:
    return factorbox.load(save_films(tmp_path / "model"))


def judged(model: Recommender, folder: Path, *queries: Any, k: int = 2) -> JudgedQueries:
    path = folder / "queries.jsonl"
    path.write_text("\n".join(json.dumps(query) for query in queries))
    return judge(model, read_queries(path, model), k=k)


def test_each_query_and_the_mean_are_those_of_a_hand_worked_case(films: Recommender, tmp_path: Path) -> None:
    # Whoever has charade likes diva best of the others, then brazil; alien has nothing in common with it.
    order = list(films.recommend(histories=[["charade"]], top_n=3)["item_id"])
    assert order == ["diva", "brazil", "alien"]
    found = judged(
        films,
        tmp_path,
        {"name": "first", "history": ["charade"], "relevant": ["brazil"]},
        {"history": {"charade": 2.5}, "relevant": ["diva", "alien", "diva"]},
    )
    assert found.record() == {
        "k": 2,
        "queries": [
            {
                "line": 1,
                "name": "first",
                "precision@2": 0.5,
                "recall@2": 1.0,
                "ndcg@2": pytest.approx(LOG_3),
                # brazil, then alien, the first of those that one user has.
                "most_popular": {"precision@2": 0.5, "recall@2": 1.0, "ndcg@2": 1.0},
                "relevant": 1,
                "unknown_history": 0,
                "unknown_relevant": 0,
                "like_everybody": False,
            },
            {
                "line": 2,
                "name": "line 2",
                "precision@2": 0.5,
                "recall@2": 0.5,
                "ndcg@2": pytest.approx(1 / (1 + LOG_3)),
                "most_popular": {
                    "precision@2": 0.5,
                    "recall@2": 0.5,
                    "ndcg@2": pytest.approx(LOG_3 / (1 + LOG_3)),
                },
                "relevant": 2,
                "unknown_history": 0,
                "unknown_relevant": 0,
                "like_everybody": False,
            },
        ],
        "mean": {
            "precision@2": 0.5,
            "recall@2": 0.75,
            "ndcg@2": pytest.approx((LOG_3 + 1 / (1 + LOG_3)) / 2),
        },
        "mean_of_most_popular": {
            "precision@2": 0.5,
            "recall@2": 0.75,
            "ndcg@2": pytest.approx((1 + LOG_3 / (1 + LOG_3)) / 2),
        },
    }


def test_what_is_in_the_history_is_never_ranked(films: Recommender, tmp_path: Path) -> None:
    # The default of the model would show it.
    lenient = factorbox.load(save_films(tmp_path / "lenient", exclude_seen=False))
    query = {"history": ["charade", "diva", "brazil"], "relevant": ["alien"]}
    for model in (films, lenient):
        assert judged(model, tmp_path, query, k=1).record()["mean"]["precision@1"] == 1.0


def test_unknown_items_are_counted_and_an_unknown_relevant_one_is_a_miss(films: Recommender, tmp_path: Path) -> None:
    found = judged(
        films,
        tmp_path,
        {"name": "a", "history": ["charade", "zelig", 7], "relevant": ["diva", "ran", "heat"]},
        {"name": "b", "history": ["charade"], "relevant": ["ran"]},
    )
    assert (found.unknown_history, found.unknown_relevant) == ([2, 0], [2, 1])
    assert found.model.recall.tolist() == [pytest.approx(1 / 3), 0.0]
    assert found.table().splitlines()[-2:] == [
        "Not known to the model: 2 ids in history, ignored (in a).",
        "Not known to the model: 3 ids in relevant, counted as missed (in a and 1 more).",
    ]


def test_an_unavailable_item_is_a_miss_for_the_model_and_for_popularity(films: Recommender, tmp_path: Path) -> None:
    artifact.replace_available(tmp_path / "model", model=films.artifact, available=np.array([True, False, True, True]))
    model = factorbox.load(tmp_path / "model")
    record = judged(model, tmp_path, {"history": ["charade"], "relevant": ["brazil"]}, k=4).record()
    assert record["mean"]["recall@4"] == record["mean_of_most_popular"]["recall@4"] == 0.0


def test_the_table_has_a_row_for_each_query_and_the_means(films: Recommender, tmp_path: Path) -> None:
    found = judged(films, tmp_path, {"name": "first", "history": ["charade"], "relevant": ["brazil"]})
    assert [row.split() for row in found.table().splitlines()] == [
        ["query", "precision@2", "recall@2", "ndcg@2"],
        ["first", "0.5000", "1.0000", "0.6309"],
        ["mean", "0.5000", "1.0000", "0.6309"],
        ["mean", "of", "most", "popular", "0.5000", "1.0000", "1.0000"],
    ]


def test_many_queries_are_answered_in_blocks(
    films: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ("alien", "brazil", "diva")
    queries = [{"history": ["charade"], "relevant": [others[n % 3]]} for n in range(7)]
    whole = judged(films, tmp_path, *queries).record()
    monkeypatch.setattr("factorbox.commands.evaluate_queries._BLOCK_QUERIES", 2)
    assert judged(films, tmp_path, *queries).record() == whole


def test_blank_lines_and_windows_lines_do_not_matter(films: Recommender, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'\r\n{"history": ["alien"], "relevant": ["diva"]}\r\n\r\n{"history": ["diva"], "relevant": [7]}')
    assert [(query.line, query.name) for query in read_queries(path, films)] == [(2, "line 2"), (4, "line 4")]


def test_a_byte_order_mark_does_not_matter(films: Recommender, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert [query.history for query in read_queries(path, films)] == [["alien"]]


def test_names_are_cleaned_for_the_table_and_kept_in_the_numbers(films: Recommender, tmp_path: Path) -> None:
    names = ["two\nlines", "\u202eturned", "\u202e", "long " * 99]
    found = judged(films, tmp_path, *({"name": n, "history": ["charade", "x"], "relevant": ["brazil"]} for n in names))
    rows = found.table().splitlines()
    assert [row.split("  ")[0] for row in rows[1:4]] == ["two lines", "turned", "line 3"]
    assert rows[4].startswith("long long") and "…" in rows[4] and len(rows[4]) < 100
    assert rows[-1].endswith("(in two lines and 3 more).")
    assert [query["name"] for query in found.record()["queries"]] == names


def test_a_query_of_which_nothing_is_known_says_that_it_is_ranked_as_for_everybody(
    films: Recommender, tmp_path: Path
) -> None:
    known, unknown = ({"history": [item, "zelig"], "relevant": ["brazil"]} for item in ("charade", "ran"))
    found = judged(films, tmp_path, known, unknown)
    words = "no known item in its history: ranked as for everybody"
    assert [row.endswith(words) for row in found.table().splitlines()] == [False, False, True, False, False, False]
    assert [query["like_everybody"] for query in found.record()["queries"]] == [False, True]


@pytest.mark.parametrize("k", [11, 10**8, 10**23])
def test_rankings_longer_than_the_catalogue_are_refused(films: Recommender, tmp_path: Path, k: int) -> None:
    with pytest.raises(UserError, match=rf"^--k {k} is more than the 4 items of the model: give a smaller one$"):
        judged(films, tmp_path, {"history": ["charade"], "relevant": ["brazil"]}, k=k)


GOOD = '{"history": ["alien"], "relevant": ["diva"]}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no json", "line 2: is not JSON .*: give an object, such as"),
        ('{"history": NaN}', "line 2: is not JSON .NaN is no JSON value"),
        ("[1, 2]", r"line 2: \[1, 2\] is no JSON object"),
        (f"[{'1,' * 99}1]", r"line 2: \[1,1,.*\.\.\. is no JSON object"),
        ('"x"', 'line 2: "x" is no JSON object'),
        ('{"relevant": ["diva"]}', "line 2: history is missing: give at least one item"),
        ('{"history": ["alien"]}', "line 2: relevant is missing"),
        ('{"history": ["alien"], "relevant": []}', "line 2: relevant is empty"),
        ('{"history": {}, "relevant": ["diva"]}', "line 2: history is empty"),
        ('{"history": "alien", "relevant": ["diva"]}', 'line 2: history "alien" is neither a list nor an object'),
        ('{"history": ["alien"], "relevant": {"diva": 1}}', "line 2: relevant .* is not a list of item ids"),
        ('{"history": ["alien"], "relevant": ["diva", 1.5]}', r"line 2: relevant\[1\] 1.5 is not an id"),
        ('{"history": ["alien", null], "relevant": ["diva"]}', r"line 2: history\[1\] null is not an id"),
        ('{"history": {"alien": "x"}, "relevant": ["diva"]}', r'line 2: history\["alien"\] "x" is not a'),
        ('{"history": {"alien": -1}, "relevant": ["diva"]}', r'line 2: history\["alien"\] -1 is not a weight: give'),
        ('{"history": ["alien"], "relevant": ["alien"]}', 'line 2: relevant "alien" is in history too'),
        ('{"name": "", "history": ["alien"], "relevant": ["diva"]}', 'line 2: name "" is empty'),
        ('{"histroy": ["alien"], "relevant": ["diva"]}', 'line 2: unknown field "histroy": did you mean history?'),
        ('{"top_n": 3}', 'line 2: unknown field "top_n": the fields of a query are name, history, relevant'),
        ('{"relevant": ["diva"], "relevant": ["alien"]}', 'line 2: "relevant" is there twice'),
        ("\xff", "line 2: is not JSON"),
    ],
)
def test_a_bad_line_is_named_with_field_and_remedy(films: Recommender, tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(f"{GOOD}\n{line}\n{GOOD}\n", encoding="latin-1")
    with pytest.raises(UserError, match=words) as refused:
        read_queries(path, films)
    assert str(refused.value).startswith(str(path))


def test_files_that_hold_nothing_are_refused(films: Recommender, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UserError, match="holds no query: write one a line"):
        read_queries(tmp_path / "empty", films)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="there is no file"):
            read_queries(path, films)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(PlatformError, match="cannot read"):
        read_queries(tmp_path / "loop", films)


def test_the_command_prints_a_table_or_all_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_films(tmp_path / "model")
    queries = tmp_path / "queries.jsonl"
    queries.write_text(GOOD)
    command = ["evaluate", str(model), "--queries", str(queries), "--k", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("query ")
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"k", "queries", "mean", "mean_of_most_popular"} and printed["k"] == 1
    queries.write_text("{}")
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"factorbox: {queries} line 1: history is missing: give at least one item, as in"
        ' {"name": "a horror fan", "history": ["219", "448"], "relevant": ["200", "185"]}\n'
    )
