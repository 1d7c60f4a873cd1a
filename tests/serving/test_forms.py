from __future__ import annotations

import itertools

import pytest

from factorbox.serving.fields import FIELDS
from factorbox.serving.forms import FORMS, misfit_of


def test_every_field_goes_with_something() -> None:
    assert {name for form in FORMS for name in form.fields} == set(FIELDS)


def test_every_field_of_the_last_form_is_no_stranger_where_no_sign_is_given() -> None:
    """What asks for recommendations alone cannot hold a field that goes with signs only."""
    signs = {form.sign for form in FORMS}

    assert {*FORMS[-1].fields} == {*FIELDS} - signs
    assert FORMS[-1].sign is None


def fits(given: frozenset[str]) -> bool:
    """The rules of the design, one by one."""
    users = [
        {"user_id"} <= given and not given & {"sequence_id", "sequence"},
        {"sequence_id", "sequence"} <= given and not given & {"user_id", "history"},
        {"history"} <= given and not given & {"user_id", "sequence_id", "sequence"},
    ]
    if "item_id" in given:
        return given <= {"item_id", "top_n", "include_items", "exclude_items", "titles"}
    if "similar_users" in given:
        return "user_id" in given and given <= {"user_id", "history", "similar_users", "top_n"}
    if "item_ids" in given and given & {"top_n", "include_items", "exclude_items"}:
        return False
    return any(users)


def test_of_all_sets_of_fields_exactly_those_of_the_rules_go_together() -> None:
    for size in range(len(FIELDS) + 1):
        for names in itertools.combinations(FIELDS, size):
            given = frozenset(names)
            misfit = misfit_of(given)
            assert (misfit is None) is fits(given), names
            if misfit is not None:
                assert ": " in misfit.problem
                assert misfit.field is None or misfit.field in given


@pytest.mark.parametrize(
    ("names", "field", "problem"),
    [
        (
            "user_id item_ids top_n",
            "top_n",
            "does not go with item_ids: leave one of them out (item_ids goes with user_id, history, sequence_id, "
            "sequence, exclude_seen, explain and titles)",
        ),
        (
            "user_id item_id",
            "user_id",
            "does not go with item_id: leave one of them out (item_id goes with top_n, include_items, exclude_items "
            "and titles)",
        ),
        (
            "user_id similar_users titles",
            "titles",
            "does not go with similar_users: leave one of them out (similar_users goes with user_id, history and "
            "top_n)",
        ),
        (
            "user_id sequence_id sequence",
            "sequence_id",
            "does not go with user_id: leave one of them out, since a record is about one user",
        ),
        (
            "sequence",
            "sequence",
            "needs sequence_id beside it: add it, or say whom it is for by user_id or history instead",
        ),
        (
            "sequence_id",
            "sequence_id",
            "needs sequence beside it: add it, or say whom it is for by user_id or history instead",
        ),
        ("similar_users history", "history", "needs user_id beside it: add it"),
        ("similar_users", "similar_users", "is for nobody: add user_id"),
        (
            "item_ids",
            "item_ids",
            "is for nobody: add user_id, sequence_id with sequence or history",
        ),
        (
            "top_n",
            None,
            'has no subject: give user_id, sequence_id with sequence, history or item_id, as in {"user_id": "123"}',
        ),
    ],
)
def test_a_misfit_names_both_fields_and_the_remedy(names: str, field: str | None, problem: str) -> None:
    assert misfit_of(frozenset(names.split())) == (field, problem)
