"""Queries of every kind, for every algorithm, against plain arithmetic; and the traps that peers fell into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from answering_support import EXPLAINED, VARIANTS, Fitted, fitted, reasons_of, rows_of
from factorbox.data.rows import Rows
from factorbox.errors import UserError
from factorbox.models.network import network_scores
from factorbox.models.row_system import RowSystem
from factorbox.recommend.answers import UNKNOWN_ITEM, Answers
from factorbox.recommend.fold_in import fold_in
from factorbox.recommend.queries import History, Query
from row_system_support import dense_row

EXACT = ["als", *(name for name in EXPLAINED if name.startswith(("explicit", "nmf")))]
"""Those whose stored users are the folded-in ones."""
RATED = [name for name in VARIANTS if name.startswith(("explicit", "nmf", "mlp, "))]

variants = st.sampled_from(list(VARIANTS))
explained = st.sampled_from(EXPLAINED)
users = st.sampled_from([*(f"u{u:04d}" for u in range(0, 60, 7)), "nobody", ""])
items = st.sampled_from([*(f"i{i:04d}" for i in range(40)), "nothing", "i00"])
lists = st.lists(items, max_size=12)
histories = st.one_of(lists, st.dictionaries(items, st.floats(0.1, 5), max_size=6))


def askable(model: Fitted, query: Query) -> Query:
    """The query without what this model refuses."""
    return query if model.traits.explains else query._replace(explain=0)


def asking(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[Query]:
    return st.fixed_dictionaries(fields).map(lambda values: Query(**values))  # type: ignore[arg-type]


recommending = asking(
    user_id=st.one_of(st.none(), users),
    history=st.one_of(st.none(), histories),
    top_n=st.integers(1, 50),
    exclude_seen=st.sampled_from([None, True, False]),
    include_items=st.one_of(st.none(), lists),
    exclude_items=lists,
    explain=st.integers(0, 3),
)
scoring = asking(user_id=users, history=st.one_of(st.none(), histories), item_ids=lists, explain=st.integers(0, 3))
like_items = asking(
    item_id=items, top_n=st.integers(1, 50), include_items=st.one_of(st.none(), lists), exclude_items=lists
)
like_users = asking(
    user_id=users,
    history=st.one_of(st.none(), histories),
    similar_users=st.just(True),
    top_n=st.integers(1, 70),
)
queries = st.one_of(recommending, scoring, like_items, like_users)


def index(item_id: str) -> int | None:
    return int(item_id[1:]) if len(item_id) == 5 and item_id.startswith("i") else None


def known(item_ids: History | None) -> set[int]:
    return {i for item_id in item_ids or () if (i := index(item_id)) is not None}


def user_index(model: Fitted, query: Query) -> int | None:
    ids = model.model.user_ids.to_list()
    return ids.index(query.user_id) if query.user_id in ids else None


def whole_history(model: Fitted, query: Query) -> dict[int, float]:
    """The stored history and the query's: added up, or for ratings the given one where there are both."""
    merged: dict[int, float] = {}
    user, rows = user_index(model, query), model.model.history
    if user is not None:
        part = slice(rows.indptr[user], rows.indptr[user + 1])
        merged = dict(zip(rows.indices[part].tolist(), rows.weights[part].tolist(), strict=True))
    adds_up = model.traits.feedback.kind == "implicit"
    listed, given = model.traits.listed_value, query.history or ()
    for item_id in given:
        if (i := index(item_id)) is not None:
            value = given[item_id] if isinstance(given, Mapping) else listed
            merged[i] = merged.get(i, 0.0) + value if adds_up else value
    return merged


def rows_with(history: Mapping[int, float]) -> Rows:
    items = sorted(history)
    values = np.array([history[i] for i in items], dtype=np.float32)
    return Rows(np.array([0, len(items)]), np.array(items, dtype=np.int32), values)


def folded(model: Fitted, history: Mapping[int, float]) -> tuple[NDArray[np.floating], float]:
    """The factors and bias of a history by dense algebra, but for a network."""
    if not isinstance(model.problem, RowSystem):
        factors, biases = fold_in(model.problem, rows_with(history))
        return factors[0].astype(np.float64), float(biases[0])
    v = dense_row(model.problem, rows_with(history), 0)
    d = model.model.item_factors.shape[1]
    return v[:d], float(v[d]) if model.problem.has_bias else 0.0


def vector(model: Fitted, query: Query) -> tuple[NDArray[np.floating], float]:
    """The factors and bias of the user whom a query is about."""
    user, arrays = user_index(model, query), model.model
    if known(query.history):
        return folded(model, whole_history(model, query))
    if user is None:
        return arrays.mean_user_factors.astype(np.float64), float(arrays.mean_user_bias[0])
    return arrays.user_factors[user].astype(np.float64), float(arrays.user_biases[user])


def ranked_by(model: Fitted, user: tuple[NDArray[np.floating], float]) -> NDArray[np.float64]:
    """x̂ of every item."""
    (w, bias), arrays = user, model.model
    if arrays.layers:
        products = network_scores(w.astype(np.float32)[None], arrays.item_factors, arrays.layers)[0]
    else:
        products = arrays.item_factors.astype(np.float64) @ w
    return np.asarray(arrays.global_mean + bias + arrays.item_biases + products, dtype=np.float64)


def scores(model: Fitted, query: Query) -> NDArray[np.float64]:
    x = ranked_by(model, vector(model, query))
    return {"identity": x, "exp": np.exp(x), "sigmoid": 1 / (1 + np.exp(-x))}[model.traits.link]


@given(in_part=st.booleans(), variant=variants, query=recommending)
def test_recommendations_are_the_best_of_what_every_filter_leaves(in_part: bool, variant: str, query: Query) -> None:
    # Traps: masked items leaking into short lists, padding up to top_n, an empty filter that means "no filter".
    model = fitted(variant, in_part=in_part)
    expected = scores(model, query)
    allowed = set(range(40)) - known(query.exclude_items)
    if query.include_items is not None:
        allowed &= known(query.include_items)
    if query.exclude_seen is not False:
        allowed -= set(whole_history(model, query))
        if (user := user_index(model, query)) is not None:
            allowed -= model.held_out_of(user)
    found = rows_of(model.ask(askable(model, query)), 0)
    assert {i for i, _ in found} <= allowed
    assert len(found) == min(query.top_n, len(allowed))
    np.testing.assert_allclose([score for _, score in found], expected[[i for i, _ in found]], atol=2e-4, rtol=1e-4)
    best = np.sort(expected[sorted(allowed)])[::-1][: len(found)]
    np.testing.assert_allclose([score for _, score in found], best, atol=2e-4, rtol=1e-4)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(in_part=st.booleans(), variant=variants, query=scoring)
def test_given_pairs_are_scored_in_their_order_and_keep_seen_and_unknown_ones(
    in_part: bool, variant: str, query: Query
) -> None:
    model = fitted(variant, in_part=in_part)
    assert query.item_ids is not None
    found = rows_of(model.ask(askable(model, query)), 0)
    expected = scores(model, query)
    assert len(found) == len(query.item_ids)
    for (i, score), item_id in zip(found, query.item_ids, strict=True):
        if index(item_id) is None:
            assert i == UNKNOWN_ITEM
            assert np.isnan(score)
        else:
            assert i == index(item_id)
            assert score == pytest.approx(expected[i], abs=2e-4, rel=1e-4)


@given(variant=variants, query=like_items)
def test_similar_items_are_the_highest_cosines_without_the_item_itself(variant: str, query: Query) -> None:
    model = fitted(variant)
    answers = model.ask(askable(model, query))
    found = rows_of(answers, 0)
    assert query.item_id is not None
    own = index(query.item_id)
    assert answers.known.tolist() == [own is not None]
    if own is None:
        assert not found
        return
    h = model.model.item_factors.astype(np.float64)
    cosines = h @ h[own] / np.linalg.norm(h, axis=1) / np.linalg.norm(h[own])
    allowed = set(range(40)) - known(query.exclude_items) - {own}
    if query.include_items is not None:
        allowed &= known(query.include_items)
    assert len(found) == min(query.top_n, len(allowed))
    assert {i for i, _ in found} <= allowed
    np.testing.assert_allclose([score for _, score in found], cosines[[i for i, _ in found]], atol=1e-6)
    best = np.sort(cosines[sorted(allowed)])[::-1][: len(found)]
    np.testing.assert_allclose([score for _, score in found], best, atol=1e-6)


@given(in_part=st.booleans(), variant=variants, query=like_users)
def test_similar_users_are_the_highest_cosines_without_the_user_itself(
    in_part: bool, variant: str, query: Query
) -> None:
    model = fitted(variant, in_part=in_part)
    found = rows_of(model.ask(askable(model, query)), 0)
    own = user_index(model, query)
    if not whole_history(model, query):
        assert not found
        return
    w, _ = vector(model, query)
    W = model.model.user_factors.astype(np.float64)
    cosines = W @ w / np.linalg.norm(W, axis=1) / np.linalg.norm(w)
    # Nobody is like one who was not trained, whose vector is the mean user's.
    others = [u for u in np.flatnonzero(model.model.history.counts).tolist() if u != own]
    assert len(found) == min(query.top_n, len(others))
    best = np.sort(cosines[others])[::-1][: len(found)]
    np.testing.assert_allclose([score for _, score in found], best, atol=1e-4)
    assert own not in {u for u, _ in found}


@given(
    in_part=st.booleans(), variant=variants, asked=st.lists(queries, min_size=1, max_size=12), cut=st.integers(0, 12)
)
def test_a_query_gets_the_same_bytes_alone_and_among_others(
    in_part: bool, variant: str, asked: list[Query], cut: int
) -> None:
    model = fitted(variant, in_part=in_part)
    asked = [askable(model, query) for query in asked]
    together = model.ask(*asked)
    answering = model.answering
    resolved = answering.resolve(asked)
    halves = [
        answering.answer(resolved.part(a, b), exclude_seen=True)
        for a, b in ((0, min(cut, len(asked))), (min(cut, len(asked)), len(asked)))
    ]
    alone = [model.ask(askable(model, query)) for query in asked]
    for parts in (halves, alone):
        assert columns(together) == [b"".join(column) for column in zip(*map(columns, parts), strict=True)]


def columns(answers: Answers) -> list[bytes]:
    """Everything that an answer says, without how it is cut."""
    ranking, found = answers.ranking, answers.explanations
    blank = np.full(len(ranking.scores), np.nan, dtype=np.float32)
    reasons = np.zeros(len(blank), np.int64) if found is None else np.diff(found.indptr)
    columns = [np.diff(ranking.indptr), ranking.item_indices, ranking.scores, answers.known, answers.ignored, reasons]
    if found is None:
        columns += [np.zeros(0), np.zeros(0), np.zeros(0), blank, blank]
    else:
        columns += [found.item_indices, found.influences, found.impacts, found.baselines, found.own_impacts]
    return [column.tobytes() for column in columns]


@given(in_part=st.booleans(), variant=explained, query=recommending)
def test_impacts_own_impact_and_baseline_add_up_to_the_score(in_part: bool, variant: str, query: Query) -> None:
    model = fitted(variant, in_part=in_part)
    query = query._replace(explain=1000)
    answers = model.ask(askable(model, query))
    found = answers.explanations
    assert found is not None
    history = whole_history(model, query)
    # What explains is the folded-in user, as stored ones of some algorithms are already.
    expected = ranked_by(model, vector(model, query))
    if history and variant not in EXACT:
        expected = ranked_by(model, folded(model, history))
    for row, (i, _) in enumerate(rows_of(answers, 0)):
        reasons = reasons_of(answers, row)
        assert {k for k, _ in reasons} == set(history) - {i}  # trap: an item that explains itself
        assert np.isnan(found.own_impacts[row]) == (i not in history)
        total = found.baselines[row] + sum(impact for _, impact in reasons) + np.nan_to_num(found.own_impacts[row])
        assert total == pytest.approx(expected[i], abs=1e-4, rel=1e-4)
        assert reasons == sorted(reasons, key=lambda reason: (-reason[1], reason[0]))


@given(in_part=st.booleans(), variant=explained, query=recommending, k=st.integers(1, 5))
def test_the_k_reasons_are_the_first_of_all(in_part: bool, variant: str, query: Query, k: int) -> None:
    model = fitted(variant, in_part=in_part)
    few, every = model.ask(query._replace(explain=k)), model.ask(query._replace(explain=1000))
    for row in range(len(few.ranking.scores)):
        assert reasons_of(few, row) == reasons_of(every, row)[:k]


def own_history(model: Fitted, user: int) -> dict[str, float]:
    """Return the stored history of a user as a request gives one."""
    rows = model.model.history
    part = slice(rows.indptr[user], rows.indptr[user + 1])
    pairs = zip(rows.indices[part].tolist(), rows.weights[part].tolist(), strict=True)
    return {f"i{i:04d}": float(weight) for i, weight in pairs}


@given(in_part=st.booleans(), variant=st.sampled_from(EXACT), query=recommending)
def test_a_folded_in_training_user_is_recommended_what_the_user_gets(in_part: bool, variant: str, query: Query) -> None:
    # Trap: other systems in training and in fold-in.
    model = fitted(variant, in_part=in_part)
    user = user_index(model, query)
    if user is None:
        return
    own = own_history(model, user)
    stored = rows_of(model.ask(query._replace(history=None, explain=0)), 0)
    if query.exclude_seen is not False:
        # A history of its own says nothing of what was held out.
        query = query._replace(exclude_items=[*query.exclude_items, *(f"i{i:04d}" for i in model.held_out_of(user))])
    again = rows_of(model.ask(query._replace(user_id=None, history=own, explain=0)), 0)
    np.testing.assert_allclose([s for _, s in stored], [s for _, s in again], atol=1e-4 if variant in RATED else 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("history", [[], {}, ["nothing"], {"nothing": 2.0, "i": 1.0}])
def test_a_history_of_which_nothing_is_known_gets_the_mean_user(variant: str, history: History) -> None:
    # Trap: an empty fold-in, which peers answer with zeros or an exception.
    model = fitted(variant)
    answers = model.ask(Query(history=history), Query(user_id="nobody"))
    assert rows_of(answers, 0) == rows_of(answers, 1)
    assert answers.ignored.tolist() == [len(history), 0]
    assert answers.known.tolist() == [True, False]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_known_user_with_a_history_of_unknown_items_keeps_the_stored_vector(variant: str) -> None:
    model = fitted(variant)
    answers = model.ask(Query("u0003", history=["nothing"]), Query("u0003"))
    assert rows_of(answers, 0) == rows_of(answers, 1)


@pytest.mark.parametrize("variant", RATED)
def test_a_given_rating_replaces_the_stored_one_and_a_new_one_is_added(variant: str) -> None:
    # Trap: ratings that add up, so that 3 and 4 stars become 7.
    model = fitted(variant)
    own = own_history(model, 3)
    rated, new = next(iter(own)), next(f"i{i:04d}" for i in range(40) if f"i{i:04d}" not in own)
    given_too = {rated: 1.5, new: 2.0}
    answers = model.ask(
        Query("u0003", history=given_too, top_n=40, exclude_seen=False),
        Query(history={**own, **given_too}, top_n=40, exclude_seen=False),
        Query("u0003", top_n=40, exclude_seen=False),
    )
    assert rows_of(answers, 0) == rows_of(answers, 1) != rows_of(answers, 2)


@pytest.mark.parametrize("variant", RATED)
def test_an_item_of_a_list_counts_once_as_what_a_liked_item_is_rated(variant: str) -> None:
    model = fitted(variant)
    liked = model.traits.listed_value
    assert liked > np.mean(model.interactions.weights)
    answers = model.ask(
        Query(history=["i0001", "i0002", "i0001"], top_n=40),
        Query(history={"i0002": liked, "i0001": liked}, top_n=40),
    )
    assert rows_of(answers, 0) == rows_of(answers, 1)


@pytest.mark.parametrize("variant", RATED)
@pytest.mark.parametrize("rating", [0.0, 1e-40, 1e20, 3.4e38])
def test_ratings_of_any_size_give_finite_scores(variant: str, rating: float) -> None:
    model = fitted(variant)
    answers = model.ask(
        Query(history={"i0001": rating, "i0005": rating}, exclude_seen=False, top_n=40),
        Query("u0003", history={"i0001": rating}, item_ids=["i0001", "i0002"]),
    )
    assert np.isfinite(answers.ranking.scores).all()
    assert len(answers.ranking.scores) == 42


@pytest.mark.parametrize("variant", ["explicit", "explicit, no biases"])
def test_ratings_of_both_signs_at_the_end_of_float32_give_finite_scores(variant: str) -> None:
    # Trap: an item whose factors are longer than those of the history gets beyond its ratings, and so beyond float32.
    model = fitted(variant)
    problem = replace(model.system, regularization=1e-9)
    history = {f"i{i:04d}": 3.4e38 if i % 2 else -3.4e38 for i in range(4)}
    answers = replace(model, problem=problem).ask(Query(history=history, exclude_seen=False, top_n=40))
    assert np.isfinite(answers.ranking.scores).all()
    assert len(answers.ranking.scores) == 40


def test_ratings_may_be_negative() -> None:
    model = fitted("explicit")
    answers = model.ask(*(Query(history={"i0001": rating}, item_ids=["i0001"]) for rating in (-5.0, 0.0, 5.0)))
    assert answers.ranking.scores.tolist() == sorted(answers.ranking.scores.tolist())
    assert answers.ranking.scores[0] < answers.ranking.scores[2]


@pytest.mark.parametrize("variant", ["explicit, logistic", "explicit, poisson"])
def test_answers_show_what_the_link_makes_and_explanations_what_is_ranked_by(variant: str) -> None:
    model = fitted(variant)
    query = Query(history={"i0001": 5.0, "i0002": 1.0}, top_n=40, explain=2, exclude_seen=False)
    answers = model.ask(query, Query(item_id="i0001", top_n=40), Query("u0001", similar_users=True))
    found = answers.explanations
    assert found is not None
    x = ranked_by(model, vector(model, query))
    for row, (i, score) in enumerate(rows_of(answers, 0)):
        impacts = sum(impact for _, impact in reasons_of(answers, row))
        assert found.baselines[row] + impacts + np.nan_to_num(found.own_impacts[row]) == pytest.approx(x[i], abs=1e-4)
        expected = np.exp(x[i]) if variant.endswith("poisson") else 1 / (1 + np.exp(-x[i]))
        assert score == pytest.approx(expected, rel=1e-4)
    # Cosines go through no link.
    assert min(score for _, score in rows_of(answers, 1)) < 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_of_pairs_are_those_of_answers_to_the_last_bit(variant: str) -> None:
    model = fitted(variant)
    users = np.array([3, -1, 7, 3], dtype=np.int64)
    items = np.array([5, 0, -1, 39], dtype=np.int32)
    names = [
        Query("nobody" if u < 0 else f"u{u:04d}", item_ids=[f"i{i:04d}"]) for u, i in zip(users, items, strict=True)
    ]
    found = model.answering.scores(users=users, item_indices=items)
    assert found.tobytes() == model.ask(*names).ranking.scores.tobytes()


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in EXPLAINED])
def test_what_cannot_be_explained_is_refused_by_name(variant: str) -> None:
    with pytest.raises(UserError, match=r"explain does not go with algorithm=mlp, .*: leave it out, or train another"):
        fitted(variant).ask(Query("u0001", explain=1))


def test_a_repeated_item_of_a_history_adds_up() -> None:
    model = fitted("als")
    answers = model.ask(Query(history=["i0001", "i0002", "i0001"]), Query(history={"i0002": 1, "i0001": 2}))
    assert rows_of(answers, 0) == rows_of(answers, 1)


@pytest.mark.parametrize("variant", EXPLAINED)
def test_the_mean_user_is_explained_by_the_baseline_alone(variant: str) -> None:
    model = fitted(variant)
    answers = model.ask(Query("nobody", explain=3))
    assert answers.explanations is not None
    shown = model.traits.shown(answers.explanations.baselines)
    assert shown.tolist() == answers.ranking.scores.tolist()
    assert not len(answers.explanations.item_indices)


@pytest.mark.parametrize("variant", VARIANTS)
def test_who_was_not_trained_is_answered_like_the_mean_user_but_known_and_without_what_was_seen(variant: str) -> None:
    model = fitted(variant, in_part=True)
    user = model.model.user_ids.to_list().index("u0008")
    held_out = model.held_out_of(user)
    assert len(held_out) >= 8
    answers = model.ask(
        Query("u0008", top_n=40),
        Query("nobody", top_n=40),
        Query("u0008", top_n=40, exclude_seen=False),
        Query("u0008", history=["i0001", "i0002"], top_n=40),
        Query(history=["i0001", "i0002"], top_n=40, exclude_seen=False),
        Query("u0008", similar_users=True),
    )
    assert answers.known.tolist() == [True, False, True, True, True, True]
    everybody = rows_of(answers, 1)
    assert len(everybody) == 40
    assert rows_of(answers, 0) == [row for row in everybody if row[0] not in held_out]
    assert rows_of(answers, 2) == everybody
    assert rows_of(answers, 3) == [row for row in rows_of(answers, 4) if row[0] not in held_out | {1, 2}]
    assert not rows_of(answers, 5)
    mean, own = (
        model.answering.scores(users=np.full(40, u), item_indices=np.arange(40, dtype=np.int32)) for u in (-1, user)
    )
    assert mean.tolist() == own.tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_was_held_out_is_scored_when_named_and_recommended_where_seen_items_may_be(variant: str) -> None:
    model = fitted(variant, in_part=True)
    out = sorted(model.held_out_of(1))
    answers = model.ask(
        Query("u0001", top_n=40),
        Query("u0001", top_n=40, include_items=[f"i{i:04d}" for i in out]),
        Query("u0001", top_n=40, include_items=[f"i{i:04d}" for i in out], exclude_seen=False),
        Query("u0001", item_ids=[f"i{i:04d}" for i in out]),
    )
    assert not {i for i, _ in rows_of(answers, 0)} & set(out)
    assert not rows_of(answers, 1)
    assert sorted(i for i, _ in rows_of(answers, 2)) == out
    assert [i for i, _ in rows_of(answers, 3)] == out


@pytest.mark.parametrize("variant", EXPLAINED)
def test_only_what_the_model_was_trained_on_and_what_is_given_explains(variant: str) -> None:
    model = fitted(variant, in_part=True)
    given_too = min(model.held_out_of(1))
    for query, expected in (
        (Query("u0001", explain=100, exclude_seen=False), set(whole_history(model, Query("u0001")))),
        (
            Query("u0001", explain=100, history=[f"i{given_too:04d}"], exclude_seen=False),
            {*whole_history(model, Query("u0001")), given_too},
        ),
    ):
        answers = model.ask(query)
        assert {k for row in range(10) for k, _ in reasons_of(answers, row)} == expected


@pytest.mark.parametrize("in_part", [False, True])
def test_the_lengths_of_histories_are_those_of_their_use(in_part: bool) -> None:
    model = fitted("als", in_part=in_part)
    answering = model.answering
    resolved = answering.resolve(
        [Query("u0001"), Query("u0001", history=["i0000", "i0001", "i0001"]), Query("nobody"), Query("u0008")]
    )
    trained, held_out = int(model.model.history.counts[1]), len(model.held_out_of(1))
    of_8 = int(model.model.history.counts[8])
    assert answering.history_lengths(resolved).tolist() == [trained, trained + 2, 0, of_8]
    assert answering.seen_lengths(resolved).tolist() == [trained + held_out, trained + held_out + 2, 0, 10]
    assert (of_8, trained + held_out) == (0 if in_part else 10, 10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_not_available_is_never_recommended_but_scored_when_named(variant: str) -> None:
    available = np.arange(40) % 3 != 0
    model = fitted(variant).with_available(available)
    answers = model.ask(
        Query("u0001", top_n=100, exclude_seen=False),
        Query("u0001", top_n=100, include_items=["i0003", "i0004"], exclude_seen=False),
        Query(item_id="i0003", top_n=100),
        Query("u0001", item_ids=["i0003"]),
        Query(history=["i0003"], top_n=100),
    )
    for position, expected in ((0, 26), (1, 1), (2, 26), (4, 26)):
        found = [i for i, _ in rows_of(answers, position)]
        assert len(found) == expected
        assert available[found].all()
    assert rows_of(answers, 3)[0][0] == 3
    assert np.isfinite(answers.ranking.scores).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_folding_in_takes_is_counted_for_histories_alone_and_grows_with_them(variant: str) -> None:
    answering = fitted(variant).answering
    queries = [Query("u0001"), Query(history=["i0001"]), Query(history=[f"i{i:04d}" for i in range(10)]), Query("x")]
    for_items, beside = answering.fold_in_products(answering.resolve(queries))
    d = answering.embedding_dim
    assert for_items[[0, 3]].tolist() == beside[[0, 3]].tolist() == [0, 0]
    assert for_items[2] == 10 * for_items[1] >= 10 * d**2
    assert beside[1] == beside[2] >= d**3 // 3
    # Stored items are folded in with the given ones.
    known = answering.resolve([Query("u0001", history=["i0001"])])
    assert answering.fold_in_products(known)[0] > for_items[1]


def test_a_network_takes_more_to_fold_in_than_a_system_of_its_size() -> None:
    query = Query(history=["i0001", "i0002"])
    costs = []
    for variant in ("als", "explicit, logistic", "mlp"):
        answering = fitted(variant).answering
        for_items, beside = answering.fold_in_products(answering.resolve([query]))
        costs.append((for_items[0] + beside[0]) / answering.embedding_dim**2)
    assert costs[0] < costs[1] < costs[2]


def test_no_query_has_no_answer() -> None:
    answers = fitted("als").ask()
    assert answers.ranking.indptr.tolist() == [0]
    assert answers.explanations is None
