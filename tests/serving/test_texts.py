from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from factorbox.serving.texts import concatenated, escape_csv, escape_json, number_texts, spread, texts_of

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(texts=st.lists(st.none() | anything, max_size=6))
def test_escaped_texts_read_back_and_null_stays(texts: list[str | None]) -> None:
    column = pa.array(texts, type=pa.large_string())

    escaped = escape_json(column).to_pylist()
    assert [None if text is None else json.loads(f'"{text}"') for text in escaped] == texts

    fields = escape_csv(column.drop_null()).to_pylist()
    rows = [next(csv.reader(io.StringIO(f"{field},", newline="")))[0] for field in fields]
    assert rows == [text for text in texts if text is not None]


def test_texts_that_need_no_escaping_are_used_as_they_are() -> None:
    texts = texts_of(["1", "é", "a b"])

    assert escape_csv(texts) is texts
    assert escape_json(texts) is texts


@given(numbers=st.lists(floats, max_size=5))
def test_a_number_is_the_shortest_text_that_reads_back(numbers: list[float]) -> None:
    texts = number_texts(np.array(numbers, dtype=np.float32), after=b":").to_pylist()

    assert len(texts) == len(numbers)
    for text, number in zip(texts, numbers, strict=True):
        assert text.startswith(":")
        assert np.float32(float(text[1:])) == np.float32(number)
        assert len(_digits(text[1:])) <= len(_digits(str(np.float32(number))))


def test_numbers_of_a_strided_column_are_those_of_the_column() -> None:
    numbers = np.arange(6, dtype=np.float32)[::2]

    assert number_texts(numbers, after=b",").to_pylist() == [",0.0", ",2.0", ",4.0"]


@given(parts=st.lists(st.lists(anything, max_size=3), max_size=5))
def test_texts_are_concatenated_by_row(parts: list[list[str]]) -> None:
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)

    whole = concatenated(texts_of([text for part in parts for text in part]), indptr=indptr)
    assert whole.to_pylist() == ["".join(part) for part in parts]


@given(wanted=st.lists(st.none() | anything, max_size=6))
def test_texts_are_spread_over_their_places(wanted: list[str | None]) -> None:
    places = np.array([text is not None for text in wanted], dtype=np.bool_)

    assert spread(texts_of([text for text in wanted if text is not None]), places).to_pylist() == wanted


def _digits(text: str) -> str:
    return text.partition("e")[0].replace("-", "").replace(".", "").strip("0")
