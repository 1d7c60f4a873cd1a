"""Queries of every kind, for every algorithm, against plain arithmetic; and the traps that peers fell into."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from answering_support import Fitted, fitted, reasons_of, rows_of
from factorbox.models import ALGORITHMS
from factorbox.recommend.answers import UNKNOWN_ITEM, Answers
from factorbox.recommend.queries import History, Query

algorithms = st.sampled_from(sorted(ALGORITHMS))
users = st.sampled_from([*(f"u{u:04d}" for u in range(0, 60, 7)), "nobody", ""])
items = st.sampled_from([*(f"i{i:04d}" for i in range(40)), "nothing", "i00"])
lists = st.lists(items, max_size=12)
histories = st.one_of(lists, st.dictionaries(items, st.floats(0.1, 5), max_size=6))


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
    """The stored history and the query's, added up."""
    added: dict[int, float] = {}
    user, rows = user_index(model, query), model.model.history
    if user is not None:
        part = slice(rows.indptr[user], rows.indptr[user + 1])
        added = dict(zip(rows.indices[part].tolist(), rows.weights[part].tolist(), strict=True))
    given = query.history or ()
    for item_id in given:
        if (i := index(item_id)) is not None:
            added[i] = added.get(i, 0.0) + (given[item_id] if isinstance(given, Mapping) else 1.0)
    return added


def vector(model: Fitted, query: Query) -> tuple[NDArray[np.floating], float]:
    """The user's factors and bias by dense algebra."""
    history, user, arrays = whole_history(model, query), user_index(model, query), model.model
    if not known(query.history):
        if user is None:
            return arrays.mean_user_factors.astype(np.float64), float(arrays.mean_user_bias[0])
        return arrays.user_factors[user].astype(np.float64), float(arrays.user_biases[user])
    A, b, _ = dense_system(model, history)
    v = np.asarray(np.linalg.solve(A, b))
    d = arrays.item_factors.shape[1]
    return v[:d], float(v[d]) if model.system.has_bias else 0.0


def features(model: Fitted) -> NDArray[np.float64]:
    h = model.system.item_factors.astype(np.float64)
    return np.hstack([h, np.ones((len(h), 1))]) if model.system.has_bias else h


def dense_system(
    model: Fitted, history: Mapping[int, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    system, S = model.system, sorted(history)
    X = features(model)
    c = np.array([1.0 if system.alpha is None else system.alpha * history[k] for k in S])
    penalty = system.regularization * (len(S) + system.frequency_offset) ** system.regularization_exponent
    A = system.gram + X[S].T @ (c[:, None] * X[S]) + penalty * np.eye(X.shape[1])
    return A, system.constant + X[S].T @ (c * system.targets[S]), c


def scores(model: Fitted, query: Query) -> NDArray[np.float64]:
    w, bias = vector(model, query)
    return model.model.item_factors.astype(np.float64) @ w + bias + model.model.item_biases


@given(algorithm=algorithms, query=recommending)
def test_recommendations_are_the_best_of_what_every_filter_leaves(algorithm: str, query: Query) -> None:
    # Traps: masked items leaking into short lists, padding up to top_n, an empty filter that means "no filter".
    model = fitted(algorithm)
    expected = scores(model, query)
    allowed = set(range(40)) - known(query.exclude_items)
    if query.include_items is not None:
        allowed &= known(query.include_items)
    if query.exclude_seen is not False:
        allowed -= set(whole_history(model, query))
    found = rows_of(model.ask(query), 0)
    assert {i for i, _ in found} <= allowed
    assert len(found) == min(query.top_n, len(allowed))
    np.testing.assert_allclose([score for _, score in found], expected[[i for i, _ in found]], atol=2e-4, rtol=1e-4)
    best = np.sort(expected[sorted(allowed)])[::-1][: len(found)]
    np.testing.assert_allclose([score for _, score in found], best, atol=2e-4, rtol=1e-4)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(algorithm=algorithms, query=scoring)
def test_given_pairs_are_scored_in_their_order_and_keep_seen_and_unknown_ones(algorithm: str, query: Query) -> None:
    model = fitted(algorithm)
    assert query.item_ids is not None
    found = rows_of(model.ask(query), 0)
    expected = scores(model, query)
    assert len(found) == len(query.item_ids)
    for (i, score), item_id in zip(found, query.item_ids, strict=True):
        if index(item_id) is None:
            assert i == UNKNOWN_ITEM
            assert np.isnan(score)
        else:
            assert i == index(item_id)
            assert score == pytest.approx(expected[i], abs=2e-4, rel=1e-4)


@given(algorithm=algorithms, query=like_items)
def test_similar_items_are_the_highest_cosines_without_the_item_itself(algorithm: str, query: Query) -> None:
    model = fitted(algorithm)
    answers = model.ask(query)
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


@given(algorithm=algorithms, query=like_users)
def test_similar_users_are_the_highest_cosines_without_the_user_itself(algorithm: str, query: Query) -> None:
    model = fitted(algorithm)
    found = rows_of(model.ask(query), 0)
    own = user_index(model, query)
    if own is None and not known(query.history):
        assert not found
        return
    w, _ = vector(model, query)
    W = model.model.user_factors.astype(np.float64)
    cosines = W @ w / np.linalg.norm(W, axis=1) / np.linalg.norm(w)
    others = [u for u in range(60) if u != own]
    assert len(found) == min(query.top_n, len(others))
    best = np.sort(cosines[others])[::-1][: len(found)]
    np.testing.assert_allclose([score for _, score in found], best, atol=1e-4)
    assert own not in {u for u, _ in found}


@given(algorithm=algorithms, asked=st.lists(queries, min_size=1, max_size=12), cut=st.integers(0, 12))
def test_a_query_gets_the_same_bytes_alone_and_among_others(algorithm: str, asked: list[Query], cut: int) -> None:
    model = fitted(algorithm)
    together = model.ask(*asked)
    answering = model.answering
    resolved = answering.resolve(asked)
    halves = [
        answering.answer(resolved.part(a, b), exclude_seen=True)
        for a, b in ((0, min(cut, len(asked))), (min(cut, len(asked)), len(asked)))
    ]
    alone = [model.ask(query) for query in asked]
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


@given(algorithm=algorithms, query=recommending)
def test_impacts_own_impact_and_baseline_add_up_to_the_score(algorithm: str, query: Query) -> None:
    model = fitted(algorithm)
    query = query._replace(explain=1000)
    answers = model.ask(query)
    found = answers.explanations
    assert found is not None
    history = whole_history(model, query)
    # What explains is the folded-in user; the stored vectors of `als` are that already.
    expected = scores(model, query)
    if history:
        A, b, _ = dense_system(model, history)
        expected = features(model) @ np.linalg.solve(A, b) + model.model.item_biases
    for row, (i, _) in enumerate(rows_of(answers, 0)):
        reasons = reasons_of(answers, row)
        assert {k for k, _ in reasons} == set(history) - {i}  # trap: an item that explains itself
        assert np.isnan(found.own_impacts[row]) == (i not in history)
        total = found.baselines[row] + sum(impact for _, impact in reasons) + np.nan_to_num(found.own_impacts[row])
        assert total == pytest.approx(expected[i], abs=1e-4, rel=1e-4)
        assert reasons == sorted(reasons, key=lambda reason: (-reason[1], reason[0]))


@given(algorithm=algorithms, query=recommending, k=st.integers(1, 5))
def test_the_k_reasons_are_the_first_of_all(algorithm: str, query: Query, k: int) -> None:
    model = fitted(algorithm)
    few, every = model.ask(query._replace(explain=k)), model.ask(query._replace(explain=1000))
    for row in range(len(few.ranking.scores)):
        assert reasons_of(few, row) == reasons_of(every, row)[:k]


@given(query=recommending)
def test_als_recommends_a_folded_in_training_user_what_the_user_gets(query: Query) -> None:
    # Trap: other systems in training and in fold-in.
    model = fitted("als")
    user = user_index(model, query)
    if user is None:
        return
    rows = model.model.history
    part = slice(rows.indptr[user], rows.indptr[user + 1])
    own = {
        f"i{i:04d}": float(weight)
        for i, weight in zip(rows.indices[part].tolist(), rows.weights[part].tolist(), strict=True)
    }
    stored = rows_of(model.ask(query._replace(history=None, explain=0)), 0)
    folded = rows_of(model.ask(query._replace(user_id=None, history=own, explain=0)), 0)
    np.testing.assert_allclose([s for _, s in stored], [s for _, s in folded], atol=1e-5)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("history", [[], {}, ["nothing"], {"nothing": 2.0, "i": 1.0}])
def test_a_history_of_which_nothing_is_known_gets_the_mean_user(algorithm: str, history: History) -> None:
    # Trap: an empty fold-in, which peers answer with zeros or an exception.
    model = fitted(algorithm)
    answers = model.ask(Query(history=history), Query(user_id="nobody"))
    assert rows_of(answers, 0) == rows_of(answers, 1)
    assert answers.ignored.tolist() == [len(history), 0]
    assert answers.known.tolist() == [True, False]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_known_user_with_a_history_of_unknown_items_keeps_the_stored_vector(algorithm: str) -> None:
    model = fitted(algorithm)
    answers = model.ask(Query("u0003", history=["nothing"]), Query("u0003"))
    assert rows_of(answers, 0) == rows_of(answers, 1)


def test_a_repeated_item_of_a_history_adds_up() -> None:
    model = fitted("als")
    answers = model.ask(Query(history=["i0001", "i0002", "i0001"]), Query(history={"i0002": 1, "i0001": 2}))
    assert rows_of(answers, 0) == rows_of(answers, 1)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_the_mean_user_is_explained_by_the_baseline_alone(algorithm: str) -> None:
    answers = fitted(algorithm).ask(Query("nobody", explain=3))
    assert answers.explanations is not None
    assert answers.explanations.baselines.tolist() == answers.ranking.scores.tolist()
    assert not len(answers.explanations.item_indices)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_what_is_not_available_is_never_recommended_but_scored_when_named(algorithm: str) -> None:
    available = np.arange(40) % 3 != 0
    model = fitted(algorithm).with_available(available)
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


def test_no_query_has_no_answer() -> None:
    answers = fitted("als").ask()
    assert answers.ranking.indptr.tolist() == [0]
    assert answers.explanations is None
