"""What a model's algorithm makes of histories and of scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, PAIRS, RATINGS, Feedback
from factorbox.models.base import Link
from factorbox.recommend.queries import History, Query
from factorbox.recommend.traits import Misfit, Traits

links: list[Link] = ["identity", "sigmoid", "exp"]
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
near = st.floats(-20, 20, width=32)


def of(link: Link = "identity", *, feedback: Feedback = RATINGS, explains: bool = True) -> Traits:
    return Traits(algorithm="explicit", feedback=feedback, link=link, explains=explains)


@pytest.mark.parametrize("link", links)
@given(values=st.lists(numbers | near, min_size=1, max_size=50))
def test_scores_keep_the_order_and_are_finite(link: Link, values: list[float]) -> None:
    shown = of(link).shown(np.sort(np.array(values, dtype=np.float32)))
    assert shown.dtype == np.float32
    assert np.isfinite(shown).all()
    assert (np.diff(shown) >= 0).all()


@pytest.mark.parametrize("link", links)
@given(value=near)
def test_neighbours_in_float32_keep_their_order(link: Link, value: float) -> None:
    x = np.float32(value)
    pair = of(link).shown(np.array([x, np.nextafter(x, np.float32(np.inf))]))
    assert pair[0] <= pair[1]


@pytest.mark.parametrize("link", links)
@given(values=st.lists(near, min_size=1, max_size=40))
def test_a_score_has_the_same_bytes_alone_and_among_others(link: Link, values: list[float]) -> None:
    x = np.array(values, dtype=np.float32)
    together = of(link).shown(x)
    assert together.tobytes() == b"".join(of(link).shown(x[k : k + 1]).tobytes() for k in range(len(x)))


def test_the_links_are_what_their_names_say_and_keep_what_is_missing() -> None:
    x = np.array([0, np.log(3), -100, 100, np.nan], dtype=np.float32)
    np.testing.assert_allclose(of("sigmoid").shown(x), [0.5, 0.75, np.exp(-100.0), 1, np.nan], rtol=1e-6, atol=1e-45)
    largest = np.finfo(np.float32).max
    np.testing.assert_allclose(of("exp").shown(x), [1, 3, np.exp(-100.0), largest, np.nan], rtol=1e-6, atol=1e-45)
    assert of("identity").shown(x) is x
    assert not of("sigmoid").shown(np.zeros(0, np.float32)).size


def test_only_probabilities_have_labels() -> None:
    assert [of(link).labels for link in links] == [False, True, False]


@pytest.mark.parametrize(
    ("feedback", "repeats"),
    [(IMPLICIT, "add"), (PAIRS, "add"), (RATINGS, "replace"), (COUNTS, "replace"), (CELLS, "replace")],
)
def test_weights_add_up_and_ratings_replace_one_another(feedback: Feedback, repeats: str) -> None:
    assert of(feedback=feedback).repeats == repeats


@pytest.mark.parametrize(
    ("feedback", "history", "value"),
    [
        (IMPLICIT, {"a": 1.0, "b": 0.0, "c": -2.0}, 0.0),
        (PAIRS, {"a": 1.0, "b": -1.0}, -1.0),
        (IMPLICIT, {"b": 1e-40}, 1e-40),
        (COUNTS, {"a": 0.0, "b": -0.5}, -0.5),
        (CELLS, {"b": -1e-40}, -1e-40),
        (RATINGS, {"a": -3e38, "b": 0.0}, None),
        (COUNTS, {"a": 0.0}, None),
        (IMPLICIT, {"a": 1.2e-38}, None),
        (IMPLICIT, {}, None),
        (IMPLICIT, ["a", "a"], None),
        (IMPLICIT, None, None),
    ],
)
def test_values_that_the_feedback_does_not_have_are_named(
    feedback: Feedback, history: History | None, value: float | None
) -> None:
    found = of(feedback=feedback).misfit(Query(history=history))
    assert (None if found is None else (found.field, found.item_id, found.value)) == (
        None if value is None else ("history", "b", value)
    )


def test_the_field_of_a_labelled_history_is_its_own() -> None:
    found = of(feedback=COUNTS).misfit(Query(sequence_id="visit", history={"a": -1.0}))
    assert found == Misfit(
        "sequence", "a", -1.0, "is not a rating: give a number of at least 0 (up to 3.4e+38), or leave the item out"
    )


def test_a_weight_that_is_none_is_refused_in_the_words_of_weights() -> None:
    found = of(feedback=IMPLICIT).misfit(Query("u", history={"a": -1.0}))
    assert found is not None
    assert found.problem == ("is not a weight: give a number above 0 (from 1.2e-38 to 3.4e+38), or leave the item out")


def test_explanations_are_refused_where_there_are_none() -> None:
    found = of(explains=False).misfit(Query("u", explain=2))
    assert found is not None
    assert (found.field, found.item_id, found.value) == ("explain", None, 2)
    assert "does not go with algorithm=explicit" in found.problem
    assert of(explains=False).misfit(Query("u")) is None
    assert of().misfit(Query("u", explain=2)) is None
