"""Ids numbered in the order in which they come."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.data.vocabulary import _K0, Vocabulary, _mixed

# Of every length about eight and sixteen bytes, many beginning or ending alike.
ids = st.tuples(st.integers(0, 40), st.sampled_from(["", "a", "b", "é"])).map(lambda x: "x" * x[0] + x[1] + "y")


def codes_of(vocabulary: Vocabulary, texts: list[str]) -> NDArray[np.int32] | None:
    data = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in data], dtype=np.int32)
    starts = (ends - [len(text) for text in data]).astype(np.int32)
    return vocabulary.codes(np.frombuffer(bytearray(b"".join(data) + bytes(16)), np.uint8), starts=starts, ends=ends)


@settings(deadline=None)
@given(parts=st.lists(st.lists(ids, min_size=1, max_size=60), max_size=4))
def test_each_text_has_the_number_of_distinct_ones_before_it(parts: list[list[str]]) -> None:
    vocabulary, expected = Vocabulary(), dict[str, int]()
    for texts in parts:
        codes = codes_of(vocabulary, texts)
        assert codes is not None
        assert codes.tolist() == [expected.setdefault(text, len(expected)) for text in texts]
    assert vocabulary.texts().to_pylist() == list(expected)
    assert len(vocabulary) == len(expected)


def test_a_vocabulary_grows_as_far_as_it_must() -> None:
    texts = [f"{number}{'-long' * (number % 9)}" for number in range(30_000)]
    vocabulary = Vocabulary()
    for _ in range(2):
        codes = codes_of(vocabulary, texts)
        assert codes is not None and (codes == np.arange(len(texts))).all()
    assert vocabulary.texts().to_pylist() == texts


def test_one_text_longer_than_all_room_is_taken() -> None:
    texts = ["a", "b" * 200_000, "b" * 199_999 + "c", "a"]
    codes = codes_of(Vocabulary(), texts)
    assert codes is not None and codes.tolist() == [0, 1, 2, 0]


def test_an_empty_id_is_refused_and_what_came_before_it_is_kept() -> None:
    vocabulary = Vocabulary()
    assert codes_of(vocabulary, ["a", "b", "", "c"]) is None
    codes = codes_of(vocabulary, ["b", "a", "c", "d"])
    assert codes is not None
    texts = vocabulary.texts().to_pylist()
    assert [texts[code] for code in codes] == ["b", "a", "c", "d"]
    assert len(set(texts)) == len(texts)


def test_ids_made_to_meet_in_one_slot_do_not_under_another_seed() -> None:
    a = np.random.default_rng(0).integers(1 << 64, size=1000, dtype=np.uint64)
    # What the first half has become when the second one is added to it; they cancel out.
    h = (a ^ np.uint64(16)) * np.uint64(_K0)
    b = h ^ (h >> np.uint64(32))
    assert len({_mixed(np.uint64(0), x, y, 16) for x, y in zip(a, b, strict=True)}) == 1
    seeds = [Vocabulary()._seed for _ in range(3)]
    assert len(set(seeds)) == 3
    for seed in seeds:
        assert len({_mixed(seed, x, y, 16) for x, y in zip(a, b, strict=True)}) == 1000


def test_ids_that_are_not_text_are_found_whenever_they_come() -> None:
    vocabulary = Vocabulary()
    codes_of(vocabulary, ["a", "é"])
    vocabulary.check_text()
    broken = np.frombuffer(bytearray(b"b\xff" + bytes(16)), np.uint8)
    vocabulary.codes(broken, starts=np.array([0], np.int32), ends=np.array([2], np.int32))
    for _ in range(2):
        with pytest.raises(pa.ArrowInvalid, match="UTF8"):
            vocabulary.check_text()
        codes_of(vocabulary, ["c"])
