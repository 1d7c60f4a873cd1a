from __future__ import annotations

from typing import Any

import pytest

from local_sagemaker.json_path import JsonPath, PathError

RECORD: Any = {"id": 7, "f": [1, 2, 3, 4], "deep": {"a": {"b": [10, 20]}}, "o.dd": 1, "rows": [{"x": 1}, {"x": 2}]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", RECORD),
        ("$.id", 7),
        ("$['id']", 7),
        ('$["o.dd"]', 1),
        ("$.deep.a.b[-1]", 20),
        ("$.f[0,2]", [1, 3]),
        ("$.f[1:3]", [2, 3]),
        ("$.f[1:]", [2, 3, 4]),
        ("$.f[:-1]", [1, 2, 3]),
        ("$.f[:9]", [1, 2, 3, 4]),
        ("$.f[*]", [1, 2, 3, 4]),
        ("$.deep.*", [{"b": [10, 20]}]),
        ("$.rows[*].x", [1, 2]),
        ("$.rows[:1].x", [1]),
        ("$['id','f']", {"id": 7, "f": [1, 2, 3, 4]}),
        ("$.deep['a']['b'][0]", 10),
    ],
)
def test_a_path_selects(path: str, value: Any) -> None:
    assert JsonPath.parse(path).select(RECORD) == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("id", "does not begin with"),
        ("", "does not begin with"),
        ("$..id", "not supported from"),
        ("$.f[?(@>1)]", "not supported from"),
        ("$.f[0:4:2]", "not supported from"),
        ("$.f[", "not supported from"),
        ("$.length()", "not supported from"),
        ("$['id', 0]", "not supported from"),
        ("$['id','f'].x", "must come last"),
    ],
)
def test_what_is_beyond_the_supported_part_is_refused(path: str, message: str) -> None:
    with pytest.raises(PathError, match=message):
        JsonPath.parse(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.name", 'finds no "name"'),
        ("$['id','name']", 'finds no "name"'),
        ("$.f[4]", "asks for index 4 of 4 values"),
        ("$.f[0,-5]", "asks for index -5 of 4 values"),
        ("$.id.x", 'asks for "x" of a number'),
        ("$.deep[0]", "asks for elements of an object"),
    ],
)
def test_what_is_not_there_is_an_error(path: str, message: str) -> None:
    with pytest.raises(PathError, match=message):
        JsonPath.parse(path).select(RECORD)
