from __future__ import annotations

import io
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_sagemaker.container_output import LONGEST_LINE, hand_on_lines


def lines_of(content: bytes) -> list[str]:
    lines: list[str] = []
    hand_on_lines(io.BytesIO(content), on_line=lines.append)
    return lines


def test_lines_lose_their_line_end_and_the_last_one_needs_none() -> None:
    assert lines_of(b"one\r\ntwo\n\nthree") == ["one", "two", "", "three"]


def test_binary_output_becomes_replacement_characters() -> None:
    assert lines_of(b"\xff\x00\n") == ["�\x00"]


def test_a_long_line_comes_in_pieces_that_tear_no_character() -> None:
    text = "a" + "é" * LONGEST_LINE
    pieces = lines_of(text.encode())
    assert "".join(pieces) == text
    assert len(pieces) == 3
    assert all(len(piece.encode()) <= LONGEST_LINE for piece in pieces)


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_text_comes_back_as_it_was(texts: list[str]) -> None:
    assert lines_of("".join(f"{text}\n" for text in texts).encode()) == texts


def test_a_line_is_handed_on_before_the_stream_ends() -> None:
    reading, writing = os.pipe()
    lines: list[str] = []
    seen = threading.Event()

    def on_line(line: str) -> None:
        lines.append(line)
        seen.set()

    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as other_end:
        thread = threading.Thread(target=hand_on_lines, args=(stream,), kwargs={"on_line": on_line})
        thread.start()
        other_end.write(b"first\nsec")
        assert seen.wait(30)
        assert lines == ["first"]
        other_end.close()
        thread.join()
    assert lines == ["first", "sec"]


def test_the_stream_is_read_to_its_end_when_a_line_cannot_be_handed_on() -> None:
    stream = io.BytesIO(b"one\n" * 100_000)

    def fail(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="one"):
        hand_on_lines(stream, on_line=fail)
    assert stream.read() == b""
