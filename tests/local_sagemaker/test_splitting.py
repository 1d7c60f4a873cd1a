from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_sagemaker.splitting import ObjectError, Payload, Split, Strategy, split_object


def split(content: bytes, *, split: Split = "Line", strategy: Strategy = "MultiRecord", limit: int) -> list[bytes]:
    payloads = split_object(lambda: io.BytesIO(content), split=split, strategy=strategy, limit=limit)
    return [payload.open().read() for payload in payloads]


def streamed(payload: Payload) -> bytes:
    body = payload.body()
    assert not isinstance(body, bytes | bytearray)
    return b"".join(body)


def test_payloads_take_as_many_whole_records_as_fit() -> None:
    assert split(b"aa\nbb\ncc\ndd\n", limit=6) == [b"aa\nbb\n", b"cc\ndd\n"]
    assert split(b"aa\nbb\ncc\ndd\n", limit=8) == [b"aa\nbb\n", b"cc\ndd\n"]
    assert split(b"aa\nbb\ncc\ndd\n", limit=9) == [b"aa\nbb\ncc\n", b"dd\n"]
    assert split(b"aa\nbb\ncc\ndd\n", limit=12) == [b"aa\nbb\ncc\ndd\n"]


def test_a_last_record_without_newline_is_a_record() -> None:
    assert split(b"aa\nbb", limit=5) == [b"aa\nbb"]
    assert split(b"aa\nbb", limit=4) == [b"aa\n", b"bb"]
    assert split(b"aa\nbb", strategy="SingleRecord", limit=4) == [b"aa\n", b"bb"]


def test_single_record_sends_each_line_blank_ones_and_carriage_returns_too() -> None:
    assert split(b"a\r\n\nb\n", strategy="SingleRecord", limit=10) == [b"a\r\n", b"\n", b"b\n"]


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
def test_a_record_larger_than_the_payload_is_named_by_its_number(strategy: Strategy) -> None:
    with pytest.raises(ObjectError, match=r"Record 3 is larger than MaxPayloadInMB") as error:
        split(b"aa\nbb\ncccc\ndd\n", strategy=strategy, limit=4)
    assert error.value.kind == "ClientError"


def test_a_whole_object_must_fit() -> None:
    assert split(b"aa\nbb\n", split="None", limit=6) == [b"aa\nbb\n"]
    with pytest.raises(ObjectError, match="The object is larger than MaxPayloadInMB"):
        split(b"aa\nbb\n", split="None", limit=5)


@pytest.mark.parametrize("kind", ["None", "Line"])
@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
@pytest.mark.parametrize("limit", [0, 5])
def test_an_empty_object_has_no_payload(kind: Split, strategy: Strategy, limit: int) -> None:
    assert split(b"", split=kind, strategy=strategy, limit=limit) == []


@pytest.mark.parametrize(
    ("kind", "strategy", "expected"),
    [
        ("None", "MultiRecord", [b"aa\nbb\n"]),
        ("Line", "MultiRecord", [b"aa\nbb\n"]),
        ("Line", "SingleRecord", [b"aa\n", b"bb\n"]),
    ],
)
def test_no_limit_sends_in_chunks(kind: Split, strategy: Strategy, expected: list[bytes]) -> None:
    payloads = list(split_object(lambda: io.BytesIO(b"aa\nbb\n"), split=kind, strategy=strategy, limit=0))
    assert [streamed(payload) for payload in payloads] == expected
    assert all(payload.chunked for payload in payloads)
    # A second reading, as for a retry.
    assert [payload.open().read() for payload in payloads] == expected


def greedy(records: list[bytes], *, limit: int) -> list[bytes]:
    payloads: list[bytes] = []
    for record in records:
        if payloads and len(payloads[-1]) + len(record) <= limit:
            payloads[-1] += record
        else:
            payloads.append(record)
    return payloads


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    newline=st.booleans(),
    limit=st.integers(min_value=13, max_value=60),
)
def test_the_payloads_together_are_the_object_and_each_takes_what_fits(
    lines: list[bytes], newline: bool, limit: int
) -> None:
    content = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    records = list(io.BytesIO(content))
    assert split(content, limit=limit) == greedy(records, limit=limit)
    assert split(content, strategy="SingleRecord", limit=limit) == records
