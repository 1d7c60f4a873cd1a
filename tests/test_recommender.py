"""The Python API: frames say what the server answers to the same question, for every algorithm."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from answering_support import EXPLAINED, VARIANTS, fit, without_a_part
from factorbox import artifact
from factorbox.data.item_details import ItemDetails
from factorbox.data.splits import Pairs
from factorbox.errors import PlatformError, UserError
from factorbox.manifest import MANIFEST, read_manifest, write_manifest
from factorbox.models.network import network_scores
from factorbox.recommend.queries import Query
from factorbox.recommend.subjects import Resolved
from factorbox.recommender import Recommender
from factorbox.serving.invocations import Invocations
from factorbox.serving.settings import Settings
from film_model import FILM_FACTORS, FILMS, USER_FACTORS, USERS, save_films
from support import clustered_interactions

INTERACTIONS = clustered_interactions(np.random.default_rng(5), n_users=60, n_items=40, weighted=True)

variants = st.sampled_from(list(VARIANTS))
explained = st.sampled_from(EXPLAINED)
users = st.sampled_from([*(f"u{u:04d}" for u in range(0, 60, 7)), "nobody"])
items = st.sampled_from([*(f"i{i:04d}" for i in range(40)), "nothing"])
lists = st.lists(items, max_size=8)
histories = st.one_of(lists, st.dictionaries(items, st.floats(0.125, 8, width=32), max_size=5))
numbers = st.integers(1, 45)
named = st.lists(st.tuples(users, st.one_of(st.none(), histories)), max_size=5)
described = st.dictionaries(st.sampled_from(["visitor", "u0007", "i0001", "0"]), histories, max_size=4)
filters = st.fixed_dictionaries(
    {},
    optional={"exclude_seen": st.booleans(), "include_items": lists, "exclude_items": lists, "top_n": numbers},
)


@cache
def recommender(variant: str, *, in_part: bool = False) -> Recommender:
    """Fit a small model of one of `VARIANTS`, with details for most of its items, some of them unavailable.

    With `in_part` it is fitted to what `without_a_part` leaves, and the rest is its second history.
    """
    interactions, held_out = without_a_part(INTERACTIONS) if in_part else (INTERACTIONS, None)
    algorithm, config, factors = fit(variant, interactions)
    titles = [f"Title {i}" if i % 5 else None for i in range(40)]
    with TemporaryDirectory() as folder:
        artifact.save(
            Path(folder),
            interactions=interactions,
            factors=factors,
            algorithm=algorithm.name,
            hyperparameters={**asdict(config), "exclude_seen": True},
            metrics={},
            available=np.arange(40) % 11 != 0,
            item_details=ItemDetails({"title": pa.array(titles, type=pa.large_string())}),
            held_out=held_out,
        )
        return Recommender.load(Path(folder))


@pytest.fixture
def films(tmp_path: Path) -> Recommender:
    return Recommender.load(save_films(tmp_path / "model"))


def served(model: Recommender, records: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Ask the server's side, in the request language of HTTP."""
    body = "\n".join(json.dumps(record) for record in records).encode()
    answer = Invocations(model, settings=Settings()).answer(body, request_format="json", answer_format="json")
    return [json.loads(line) for line in b"".join(answer or ()).splitlines()]


def user_records(
    asked: Sequence[tuple[str, Any]] | Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Ask for named users with perhaps a history each, or for labelled histories."""
    if isinstance(asked, Mapping):
        return [{"sequence_id": label, "sequence": history, **wanted} for label, history in asked.items()]
    return [{"user_id": user, **({} if history is None else {"history": history}), **wanted} for user, history in asked]


def as_arguments(asked: Sequence[tuple[str, Any]] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(asked, Mapping):
        return {"histories": asked}
    return {"user_ids": [user for user, _ in asked], "histories": [history for _, history in asked]}


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return rows as tuples, missing values as None; a float32 as the number that its shortest text says."""
    columns = [
        [None if pd.isna(value) else float(str(np.float32(value))) for value in column]
        if column.dtype == np.float32
        else [None if pd.isna(value) else value for value in column]
        for _, column in frame.items()
    ]
    return list(zip(*columns, strict=True))


def scored(row: Mapping[str, Any], model: Recommender) -> list[float | None]:
    """The score of a row, and the label that a probability predicts."""
    return [row["score"], *([row.get("predicted_label")] if model.answering.labels else [])]


def label(answer: Mapping[str, Any]) -> str:
    return str(answer["user_id"] if "user_id" in answer else answer["sequence_id"])


@settings(max_examples=60)
@given(
    variant=variants,
    in_part=st.booleans(),
    asked=st.one_of(named, described),
    wanted=filters,
    titles=st.booleans(),
)
def test_recommendations_are_those_of_the_server(
    variant: str, in_part: bool, asked: Any, wanted: dict[str, Any], titles: bool
) -> None:
    model = recommender(variant, in_part=in_part)
    frame = model.recommend(**as_arguments(asked), **wanted, titles=titles)
    answers = served(model, user_records(asked, {**wanted, "titles": titles}))

    def title(row: Mapping[str, Any]) -> list[str | None]:
        return [row.get("item", {}).get("title")] if titles else []

    assert rows_of(frame) == [
        (label(answer), row["item_id"], *scored(row, model), *title(row))
        for answer in answers
        for row in answer["recommendations"]
    ]


@settings(max_examples=60)
@given(
    variant=explained,
    in_part=st.booleans(),
    asked=st.one_of(named, described),
    wanted=st.one_of(filters, st.fixed_dictionaries({"item_ids": lists})),
    k=st.integers(1, 12),
)
def test_explanations_are_those_of_the_server(
    variant: str, in_part: bool, asked: Any, wanted: dict[str, Any], k: int
) -> None:
    model = recommender(variant, in_part=in_part)
    frame = model.explain(**as_arguments(asked), **wanted, k=k, titles=True)
    answers = served(model, user_records(asked, {**wanted, "explain": k, "titles": True}))
    expected = []
    for answer in answers:
        for row in answer["recommendations"]:
            start = (label(answer), row["item_id"], *scored(row, model), row.get("baseline"), row.get("own_impact"))
            title = row.get("item", {}).get("title")
            for reason in row.get("because") or [{}]:
                why = (reason.get("item_id"), reason.get("influence"), reason.get("impact"))
                expected.append((*start, *why, title, reason.get("item", {}).get("title")))
    assert rows_of(frame) == expected


@settings(max_examples=40)
@given(
    variant=variants,
    asked=st.lists(items, max_size=6),
    wanted=st.fixed_dictionaries(
        {}, optional={"top_n": numbers, "include_items": lists, "exclude_items": lists, "titles": st.booleans()}
    ),
)
def test_similar_items_are_those_of_the_server(variant: str, asked: list[str], wanted: dict[str, Any]) -> None:
    model = recommender(variant)
    answers = served(model, [{"item_id": item_id, **wanted} for item_id in asked])
    titles = wanted.get("titles", False)
    assert rows_of(model.similar_items(asked, **wanted)) == [
        (answer["item_id"], row["item_id"], row["score"], *([row.get("item", {}).get("title")] if titles else []))
        for answer in answers
        for row in answer["recommendations"]
    ]


@settings(max_examples=40)
@given(variant=variants, asked=named, top_n=numbers)
def test_similar_users_are_those_of_the_server(variant: str, asked: list[tuple[str, Any]], top_n: int) -> None:
    model = recommender(variant)
    answers = served(model, user_records(asked, {"similar_users": True, "top_n": top_n}))
    assert rows_of(model.similar_users(**as_arguments(asked), top_n=top_n)) == [
        (answer["user_id"], row["user_id"], row["score"]) for answer in answers for row in answer["similar_users"]
    ]


@settings(max_examples=40)
@given(variant=variants, pairs=st.lists(st.tuples(users, items), max_size=12))
def test_predictions_are_those_of_the_server(variant: str, pairs: list[tuple[str, str]]) -> None:
    model = recommender(variant)
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"], dtype="str")
    answers = served(model, [{"user_id": user, "item_ids": [item]} for user, item in pairs])
    assert rows_of(model.predict(frame).to_frame()) == [(answer["recommendations"][0]["score"],) for answer in answers]


def expected_scores(
    model: Recommender, factors: NDArray[np.float32], biases: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The scores of all items, by the formula of the documentation."""
    layers = model.layers
    products = (
        network_scores(factors, model.item_factors, layers)
        if layers
        else factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)
    )
    x = (model.global_mean + biases[:, None] + model.item_biases + products).astype(np.float64)
    return np.asarray({"identity": x, "exp": np.exp(x), "sigmoid": 1 / (1 + np.exp(-x))}[model.answering.traits.link])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prediction_is_the_product_of_the_factors_and_the_biases(variant: str) -> None:
    model = recommender(variant)
    every = pd.MultiIndex.from_product(
        [model.user_ids.to_list(), model.item_ids.to_list()], names=["user_id", "item_id"]
    ).to_frame(index=False)
    expected = expected_scores(model, model.user_factors, model.user_biases)
    np.testing.assert_allclose(model.predict(every), expected.ravel(), rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(variant=variants, asked=described)
def test_folded_in_vectors_give_the_scores_of_the_server(variant: str, asked: dict[str, Any]) -> None:
    model = recommender(variant)
    new = model.fold_in(asked)
    assert list(new.labels) == list(asked)
    assert new.factors.dtype == new.biases.dtype == np.float32
    scores = expected_scores(model, new.factors, new.biases)
    answers = served(model, user_records(asked, {"item_ids": model.item_ids.to_list()}))
    expected = [[row["score"] for row in answer["recommendations"]] for answer in answers]
    np.testing.assert_allclose(scores, np.array(expected).reshape(len(asked), 40), rtol=1e-5, atol=1e-5)
    assert new.ignored_items.tolist() == [answer.get("ignored_items", 0) for answer in answers]


@pytest.mark.parametrize("variant", ["als", "explicit", "nmf"])
def test_a_training_history_folds_in_to_the_users_own_vector(variant: str) -> None:
    model = recommender(variant)
    rows, item_ids = model.history, model.item_ids.to_list()
    parts = [slice(*rows.indptr[u : u + 2]) for u in range(60)]
    own = [
        {item_ids[i]: float(w) for i, w in zip(rows.indices[part], rows.weights[part], strict=True)} for part in parts
    ]
    new = model.fold_in(own)
    assert list(new.labels) == [str(k) for k in range(60)]
    np.testing.assert_allclose(new.factors, model.user_factors, atol=1e-4)
    np.testing.assert_allclose(new.biases, model.user_biases, atol=1e-4)


# Beside alien and brazil ann has charade, and beside charade and diva bob has alien, which the model never saw.
FILMS_HELD_OUT = Pairs(np.array([0, 1]), np.array([2, 0], np.int32), np.ones(2, np.float32))


@pytest.fixture
def films_in_part(tmp_path: Path) -> Recommender:
    return Recommender.load(save_films(tmp_path / "in-part", held_out=FILMS_HELD_OUT))


def csv_of(model: Recommender, body: bytes, *, settings: Settings | None = None) -> list[str]:
    """Ask the server's side for CSV, and return the rows without the scores."""
    invocations = Invocations(model, settings=settings or Settings())
    answer = b"".join(invocations.answer(body, request_format="csv", answer_format="csv") or ()).decode()
    return [row.rsplit(",", 1)[0] for row in answer.splitlines()]


def test_what_was_held_out_is_seen_in_frames_json_and_csv(films: Recommender, films_in_part: Recommender) -> None:
    for model, expected in (
        (films, ["ann,diva", "ann,charade", "bob,brazil", "bob,alien", "cleo,diva", "cleo,alien"]),
        (films_in_part, ["ann,diva", "bob,brazil", "cleo,diva", "cleo,alien"]),
    ):
        frame = model.recommend()
        assert (frame["user_id"] + "," + frame["item_id"]).to_list() == expected
        answers = served(model, [{"user_id": user} for user in USERS])
        assert [f"{a['user_id']},{row['item_id']}" for a in answers for row in a["recommendations"]] == expected
        assert csv_of(model, b"ann\nbob\ncleo") == expected


def test_what_is_given_is_seen_beside_what_was_trained_and_what_was_held_out(films_in_part: Recommender) -> None:
    assert films_in_part.recommend("ann", histories=[["diva"]])["item_id"].to_list() == []
    assert films_in_part.recommend("bob", histories=[["alien"]])["item_id"].to_list() == ["brazil"]
    assert served(films_in_part, [{"user_id": "ann", "history": ["diva"]}])[0]["recommendations"] == []
    # Nobody else's: a new user has seen what is given.
    assert len(films_in_part.recommend(histories={"ann": ["diva"]})) == 3


def test_where_seen_items_may_come_those_held_out_do(films: Recommender, films_in_part: Recommender) -> None:
    pd.testing.assert_frame_equal(films_in_part.recommend(exclude_seen=False), films.recommend(exclude_seen=False))
    settings = Settings(exclude_seen=False)
    assert csv_of(films_in_part, b"ann", settings=settings) == csv_of(films, b"ann", settings=settings)
    assert len(csv_of(films_in_part, b"ann", settings=settings)) == 4


def test_only_the_items_of_training_explain_and_fold_in(films: Recommender, films_in_part: Recommender) -> None:
    why = films_in_part.explain("ann", exclude_seen=False, k=4)
    assert set(why["because_item_id"]) == {"alien", "brazil"}
    pd.testing.assert_frame_equal(why, films.explain("ann", exclude_seen=False, k=4))
    assert np.isnan(why.loc[why["item_id"] == "charade", "own_impact"]).all()
    (answer,) = served(films_in_part, [{"user_id": "ann", "explain": 4, "exclude_seen": False}])
    reasons = {reason["item_id"] for row in answer["recommendations"] for reason in row["because"]}
    assert reasons == {"alien", "brazil"}
    beside, without = (
        model.recommend("bob", histories=[["brazil"]], exclude_seen=False) for model in (films_in_part, films)
    )
    pd.testing.assert_frame_equal(beside, without)


def test_both_histories_can_be_read(films: Recommender, films_in_part: Recommender) -> None:
    assert films.seen is films.history
    assert films_in_part.history.indices.tolist() == films.history.indices.tolist()
    seen = films_in_part.seen
    assert [seen.indices[slice(*seen.indptr[u : u + 2])].tolist() for u in range(3)] == [[0, 1, 2], [0, 2, 3], [1, 2]]


def test_a_known_user_without_history_is_recommended_what_an_unknown_one_is() -> None:
    model = recommender("als", in_part=True)
    known, unknown = served(model, [{"user_id": user, "top_n": 40} for user in ("u0008", "nobody")])
    assert "known_user" not in known
    assert unknown["known_user"] is False
    seen = {model.item_ids[int(i)] for i in model.seen.indices[slice(*model.seen.indptr[8:10])]}
    assert len(seen) == 10
    assert known["recommendations"] == [row for row in unknown["recommendations"] if row["item_id"] not in seen]


def test_a_new_rating_beside_a_known_user_replaces_the_stored_one() -> None:
    model = recommender("explicit")
    rows, item_ids = model.history, model.item_ids.to_list()
    part = slice(*rows.indptr[3:5])
    own = {item_ids[i]: float(w) for i, w in zip(rows.indices[part], rows.weights[part], strict=True)}
    rated = next(iter(own))
    beside = model.recommend("u0003", histories=[{rated: -2.5}], exclude_seen=False, top_n=40)
    alone = model.recommend(histories=[{**own, rated: -2.5}], exclude_seen=False, top_n=40)
    pd.testing.assert_series_equal(beside["score"], alone["score"])
    assert beside["item_id"].to_list() == alone["item_id"].to_list()


def test_probabilities_come_with_their_label_in_every_frame_of_items() -> None:
    model = recommender("explicit, logistic")
    for frame in (model.recommend(top_n=3), model.explain(top_n=3, k=1)):
        assert list(frame)[:4] == ["user_id", "item_id", "score", "predicted_label"]
        assert frame["predicted_label"].dtype == pd.Int8Dtype()
        assert ((frame["score"] >= 0.5) == (frame["predicted_label"] == 1)).all()
    assert "predicted_label" not in model.similar_items("i0001")
    assert "predicted_label" not in model.similar_users("u0001")
    assert "predicted_label" not in recommender("explicit").recommend("u0001")


def test_without_any_user_all_users_are_answered_in_order() -> None:
    model = recommender("als")
    everybody = model.recommend(top_n=3)
    pd.testing.assert_frame_equal(everybody, model.recommend(model.user_ids.to_list(), top_n=3))
    assert everybody["user_id"].drop_duplicates().to_list() == model.user_ids.to_list()
    assert model.explain(top_n=1, k=1)["user_id"].drop_duplicates().to_list() == model.user_ids.to_list()


@pytest.mark.parametrize("queries", [1, 7, 60])
def test_blocks_change_nothing(queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = recommender("bpr")
    included = model.item_ids.to_list()[::2]
    asked: dict[str, Callable[[], pd.DataFrame]] = {
        "recommend": lambda: model.recommend(top_n=4, include_items=included, titles=True),
        "explain": lambda: model.explain(top_n=2, k=3),
        "similar": lambda: model.similar_items(model.item_ids.to_list(), top_n=5),
    }
    whole = {name: ask() for name, ask in asked.items()}
    monkeypatch.setattr("factorbox.recommender._BLOCK_QUERIES", queries)
    for name, ask in asked.items():
        pd.testing.assert_frame_equal(ask(), whole[name])


def test_long_filters_make_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = recommender("als")
    asked: list[int] = []
    resolve = model.answering.resolve

    def counted(queries: Sequence[Query]) -> Resolved:
        asked.append(len(queries))
        return resolve(queries)

    monkeypatch.setattr("factorbox.recommender._BLOCK_FILTERS", 100)
    monkeypatch.setattr(model.answering, "resolve", counted)
    frame = model.recommend(top_n=1, exclude_items=model.item_ids.to_list()[:20])
    assert asked == [5] * 12
    assert len(frame) == 60


def test_nobody_gives_a_frame_without_rows_but_with_all_columns(films: Recommender) -> None:
    whole = {
        "recommend": films.recommend("ann", titles=True),
        "explain": films.explain("ann", titles=True),
        "similar_items": films.similar_items("diva"),
        "similar_users": films.similar_users("ann"),
    }
    empty = {
        "recommend": films.recommend([], titles=True),
        "explain": films.explain([], titles=True),
        "similar_items": films.similar_items([]),
        "similar_users": films.similar_users([]),
    }
    for name, frame in empty.items():
        assert len(frame) == 0
        pd.testing.assert_series_equal(frame.dtypes, whole[name].dtypes)
    assert len(films.predict(pd.DataFrame({"user_id": [], "item_id": []}, dtype="str"))) == 0
    assert films.fold_in({}).factors.shape == (0, 2)


def test_an_index_and_other_columns_of_a_frame_stay_as_they_are(films: Recommender) -> None:
    frame = pd.DataFrame(
        {"when": [3, 1, 2], "Item": ["diva", "none", "alien"], "customer_id": ["bob", "ann", "nobody"]},
        index=pd.Index([10, 10, 5], name="row"),
    )
    before = frame.copy()
    scores = films.predict(frame)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_index_equal(scores.index, frame.index)
    assert scores.name == "score"
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [0.8, np.nan, USER_FACTORS.mean(axis=0)[0]], rtol=1e-6)


def test_factors_and_biases_are_read_only_and_in_the_order_of_the_ids(films: Recommender) -> None:
    assert films.user_ids.to_list() == list(USERS)
    assert films.item_ids.to_list() == list(FILMS)
    np.testing.assert_array_equal(films.user_factors, USER_FACTORS)
    np.testing.assert_array_equal(films.item_factors, FILM_FACTORS)
    np.testing.assert_array_equal(films.user_biases, np.zeros(3))
    np.testing.assert_array_equal(films.item_biases, np.zeros(4))
    assert films.global_mean == 0.0
    for array in (films.user_factors, films.item_factors, films.user_biases, films.item_biases):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 1
    # The model itself is not told to be: kernels are compiled for what is mapped.
    assert copy.deepcopy(films.item_factors).flags.writeable


def test_the_manifest_can_be_read_only(films: Recommender) -> None:
    assert films.algorithm == films.manifest["algorithm"] == "als"
    with pytest.raises(TypeError):
        films.manifest["algorithm"] = "bpr"  # type: ignore[index]


@pytest.mark.parametrize("kept", [True, False])
def test_seen_items_are_left_out_as_the_training_said_unless_asked_otherwise(kept: bool, tmp_path: Path) -> None:
    model = Recommender.load(save_films(tmp_path / "model", exclude_seen=kept))
    assert model.exclude_seen is kept
    assert (len(model.recommend("ann")) == 2) is kept
    assert len(model.recommend("ann", exclude_seen=True)) == 2
    assert len(model.recommend("ann", exclude_seen=False)) == 4
    assert (model.explain("ann")["item_id"].nunique() == 2) is kept


def test_a_label_that_is_a_users_id_by_chance_brings_no_stored_history_in(films: Recommender) -> None:
    alone = films.recommend(histories={"ann": ["charade"]})
    beside = films.recommend("ann", histories={"ann": ["charade"]})
    assert alone["item_id"].to_list() == films.recommend(histories={"new": ["charade"]})["item_id"].to_list()
    assert set(alone["item_id"]) == {"alien", "brazil", "diva"}
    assert set(beside["item_id"]) == {"diva"}


def test_an_item_without_reasons_keeps_its_row(films: Recommender) -> None:
    frame = films.explain("nobody", item_ids=["diva", "metropolis"])
    assert frame["item_id"].to_list() == ["diva", "metropolis"]
    assert frame["because_item_id"].isna().all()
    assert frame["baseline"].iloc[0] == frame["score"].iloc[0]


@pytest.mark.parametrize("wrong", [{"include_items": ["diva"]}, {"exclude_items": "diva"}])
def test_given_items_are_not_filtered(films: Recommender, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="item_ids are explained as they stand: leave include_items and exclude_items"):
        films.explain("ann", item_ids="alien", **wrong)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda model: model.recommend(1.0), r"user_ids is 1\.0, a float, which is no id"),
        (lambda model: model.recommend([1.0]), r"user_ids\[0\] is 1\.0, a float"),
        (lambda model: model.recommend("ann", top_n=0), "top_n is 0: give a whole number of at least 1"),
        (lambda model: model.recommend("ann", exclude_seen="no"), "exclude_seen is 'no': give True or False"),
        (lambda model: model.recommend("ann", include_items=[None]), r"include_items\[0\] is None, a missing value"),
        (lambda model: model.recommend("ann", titles=1), "titles is 1: give True or False"),
        (lambda model: model.explain("ann", k=0), "k is 0: give a whole number"),
        (lambda model: model.explain("ann", item_ids=[True]), r"item_ids\[0\] is True, of type bool"),
        (lambda model: model.similar_items([b"x"]), r"item_ids\[0\] is b'x', of type bytes"),
        (lambda model: model.fold_in(["alien"]), r"histories\[0\] is 'alien', which is no list"),
        (lambda model: model.predict([("ann", "diva")]), "no user column in the frame, whose columns are none"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(films: Recommender, ask: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ask(films)


def test_loading_and_warming_up_run_no_product_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A product before a server forks makes every product after it hang.
    def refused(*arguments: object, **keywords: object) -> object:
        raise AssertionError("a product of torch ran")

    for name in ("mm", "matmul", "addmm"):
        monkeypatch.setattr(torch, name, refused)
    model = Recommender.load(save_films(tmp_path / "model"))
    model.warm_up()
    assert len(model.recommend("ann")) > 0


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no model in"):
        Recommender.load(tmp_path)


def test_a_model_of_an_algorithm_that_is_not_known_here_is_refused_at_once(tmp_path: Path) -> None:
    newer = tmp_path / "model"
    save_films(newer)
    write_manifest(newer / MANIFEST, {**read_manifest(newer), "algorithm": "yet_another"})
    with pytest.raises(PlatformError, match=r"of algorithm=yet_another, and this factorbox has als, .*: serve it with"):
        Recommender.load(newer)
