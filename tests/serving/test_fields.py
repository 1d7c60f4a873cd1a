from __future__ import annotations

import json
import math
import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from factorbox.data.fields import MAX_WEIGHT, MIN_WEIGHT
from factorbox.recommend.queries import MAX_TOP_N, Query
from factorbox.serving.fields import FIELDS, ITEM, BadValueError, Field, Ids, Likings, Switch, WholeNumber
from factorbox.serving.values import JsonFields, JsonInteger, JsonNumber

BY_NAME = [pytest.param(name, field, id=name) for name, field in FIELDS.items()]


def decoded(text: str) -> Any:
    """Decode as the strict parser does."""
    return json.loads(text, object_pairs_hook=JsonFields, parse_float=JsonNumber, parse_int=JsonInteger)


def test_the_fields_are_those_of_a_query() -> None:
    assert set(FIELDS) == {*Query._fields, "sequence"}


@pytest.mark.parametrize(("name", "field"), BY_NAME)
def test_the_example_of_a_field_is_good_and_fits_its_schema(name: str, field: Field) -> None:
    field.kind.read(decoded(json.dumps(field.example)))

    assert jsonschema_rs.is_valid(field.kind.schema(), field.example)
    assert field.meaning.endswith(".")


@pytest.mark.parametrize(("name", "field"), BY_NAME)
@pytest.mark.parametrize(
    "text", ["null", "1.5", "-1.5", '""', "[null]", "[1.0]", "[[]]", '[""]', '{"a": null}', '{"": 1}']
)
def test_what_no_field_takes_is_refused_and_fits_no_schema(name: str, field: Field, text: str) -> None:
    with pytest.raises(BadValueError):
        field.kind.read(decoded(text))

    # JSON Schema counts 1.0 among the whole numbers.
    assert text == "[1.0]" or not jsonschema_rs.is_valid(field.kind.schema(), json.loads(text))


@pytest.mark.parametrize(
    ("text", "place", "value", "problem"),
    [
        ('"a"', "", "a", "is neither a list nor an object"),
        ("5", "", "5", "is neither a list nor an object"),
        ("null", "", "null", "is neither a list nor an object"),
        ('["a", 1.5]', "[1]", "1.5", "is not an id"),
        ('["a", "b", ""]', "[2]", "", "is empty: give the id of an item"),
        ("[true]", "[0]", "true", "is not an id"),
        ('[["a"]]', "[0]", "[...]", "is not an id"),
        ('["a", "\\ud800"]', "[1]", "\\ud800", "half of a surrogate pair"),
        ('{"": 1}', "", "", "is an empty key"),
        ('{"\\ud800": 1}', "", "\\ud800", "is a key that holds half of a surrogate pair"),
        ('{"a": 1e999}', '["a"]', "1e999", "is not a weight: give a number, of at most 3.4e+38, or leave the item out"),
        ('{"a": -1e999}', '["a"]', "-1e999", "is not a weight"),
        ('{"a": -3.5e38}', '["a"]', "-3.5e38", "is not a weight"),
        ('{"a": "--1"}', '["a"]', "--1", "is not a weight"),
        ('{"a": "+1"}', '["a"]', "+1", "is not a weight"),
        ('{"a": "nan"}', '["a"]', "nan", "is not a weight"),
        ('{"a": " 1"}', '["a"]', " 1", "is not a weight"),
        ('{"a": true}', '["a"]', "true", "is not a weight"),
        ('{"a\\n": null}', r'["a\n"]', "null", "is not a weight"),
        ('{"a": 1, "b": 2, "a": 3}', '["a"]', "3", "is there twice"),
    ],
)
def test_a_bad_history_names_place_value_and_remedy(text: str, place: str, value: str, problem: str) -> None:
    with pytest.raises(BadValueError, match=re.escape(problem)) as caught:
        Likings().read(decoded(text))

    assert (caught.value.place, caught.value.value) == (place, value)
    assert ": " in caught.value.problem


@given(weight=st.floats(-MAX_WEIGHT, MAX_WEIGHT), as_text=st.booleans())
@example(weight=0.0, as_text=False)
@example(weight=-0.0, as_text=True)
def test_a_weight_of_any_sign_is_read_as_it_was_written(weight: float, as_text: bool) -> None:
    written = json.dumps({"a": repr(weight) if as_text else weight})

    read = Likings().read(decoded(written))
    # A 0 has no sign: answers would show it.
    assert repr(read) == repr({"a": weight + 0.0})


def test_repeated_items_of_a_list_are_kept() -> None:
    assert Likings().read(decoded('["a", "a", 5]')) == ["a", "a", "5"]


def test_a_list_of_ids_is_no_object() -> None:
    with pytest.raises(BadValueError, match="is not a list of item ids"):
        Ids().read(decoded('{"a": 1}'))


@given(number=st.integers(1, 10**12), as_text=st.booleans())
def test_a_whole_number_is_cut_at_what_no_catalogue_reaches(number: int, as_text: bool) -> None:
    assert WholeNumber().read(decoded(json.dumps(str(number) if as_text else number))) == min(number, MAX_TOP_N)


def test_only_a_switch_that_is_off_by_default_is_idle_at_false() -> None:
    idle = {name for name, field in FIELDS.items() if field.kind.is_idle(False)}

    assert idle == {name for name, default in Query._field_defaults.items() if default is False}
    assert not any(field.kind.is_idle(True) for field in FIELDS.values())


@given(text=st.text())
def test_text_that_a_schema_allows_is_read(text: str) -> None:
    for kind in (ITEM, WholeNumber(), Switch(idle_when_false=True)):
        if jsonschema_rs.is_valid(kind.schema(), text):
            kind.read(text)


@pytest.mark.parametrize("minimum", [-MAX_WEIGHT, 0.0, MIN_WEIGHT])
@given(weight=st.from_regex(r"^-?[0-9.e+-]{1,6}$", fullmatch=True))
@example(weight="-0.5")
@example(weight="0")
@example(weight="0e5")
@example(weight="9" * 38)
def test_a_weight_as_text_that_the_schema_of_a_model_allows_is_read_and_large_enough(
    minimum: float, weight: str
) -> None:
    schema = Likings().schema_from(minimum)
    if jsonschema_rs.is_valid(schema, {"a": weight}):
        read = Likings().read(JsonFields([("a", weight)]))
        assert isinstance(read, dict) and math.isclose(read["a"], float(weight)) and read["a"] >= minimum
        assert jsonschema_rs.is_valid(schema, {"a": float(weight)})


@pytest.mark.parametrize(
    ("minimum", "wrong"), [(-MAX_WEIGHT, []), (0.0, ["-1", -1]), (MIN_WEIGHT, ["-1", -1, "0", 0, "0.0", 1e-300])]
)
def test_the_schema_of_a_model_says_which_weights_it_takes(minimum: float, wrong: list[object]) -> None:
    fits = jsonschema_rs.validator_for(Likings().schema_from(minimum)).is_valid

    for weight in ["-1", -1, "0", 0, "0.0", 1e-300, 2.5, "2.5", "1e-5"]:
        assert fits({"a": weight}) is (weight not in wrong)
