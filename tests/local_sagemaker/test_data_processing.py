from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from local_sagemaker.data_processing import DataProcessing
from local_sagemaker.errors import ServiceError
from local_sagemaker.splitting import ObjectError, Payload
from transform_support import request


def processing(content_type: str, *, split: str = "Line", **members: str) -> DataProcessing:
    found = DataProcessing.of(
        request(content_type=content_type, accept=content_type, split=split, assemble=split, DataProcessing=members)
    )
    assert found is not None
    return found


def sent(work: DataProcessing, content: bytes) -> bytes:
    return work.filtered(Payload(content)).open().read()


def written(work: DataProcessing, content: bytes, answer: bytes, *, folder: Path) -> bytes:
    with work.finished(Payload(content), io.BytesIO(answer), spool=folder) as result:
        return result.read()


def test_defaults_need_no_processing() -> None:
    assert DataProcessing.of(request()) is None
    assert DataProcessing.of(request(DataProcessing={"InputFilter": "$", "JoinSource": "None"})) is None


def test_columns_of_csv_are_selected_and_quoted_where_they_need_it() -> None:
    work = processing("text/csv", InputFilter="$[1:]")
    assert sent(work, b'1,"a,b","say ""so"""\r\n2,c,\xc3\xa9') == b'"a,b","say ""so"""\nc,\xc3\xa9\n'
    assert sent(processing("text/csv", InputFilter="$[0,-1]"), b"1,2,3\n") == b"1,3\n"
    assert sent(processing("text/csv", InputFilter="$[0]"), b"1,2,3\n") == b"1\n"


def test_members_of_json_lines_are_selected() -> None:
    assert sent(processing("application/jsonlines", InputFilter="$.f"), b'{"f":[1,2]}\n{"f":"x"}\n') == b'[1,2]\n"x"\n'
    work = processing("application/jsonlines", InputFilter="$['a','b']")
    assert sent(work, b'{"a":1,"b":1.5,"c":2}') == b'{"a":1,"b":1.5}\n'


def test_a_filter_of_a_large_object_is_applied_while_it_is_sent() -> None:
    work = processing("text/csv", InputFilter="$[0]")
    payload = work.filtered(Payload(lambda: io.BytesIO(b"1,2\n3,4\n"), chunked=True))
    body = payload.body()
    assert not isinstance(body, bytes | bytearray)
    assert payload.chunked
    assert b"".join(body) == b"1\n3\n"
    with payload.open() as again:
        assert again.read() == b"1\n3\n"


def test_rows_are_followed_by_the_answer(tmp_path: Path) -> None:
    work = processing("text/csv", JoinSource="Input")
    assert written(work, b'1,"a,b"\r\n2,c\n', b"0.5\n0.25,x\n", folder=tmp_path) == b'1,"a,b",0.5\n2,c,0.25,x'
    work = processing("text/csv", JoinSource="Input", InputFilter="$[1:]", OutputFilter="$[0,-1]")
    assert written(work, b'1,"a,b"\n2,c\n', b"0.5\n0.25", folder=tmp_path) == b"1,0.5\n2,0.25"


def test_objects_get_a_member_and_other_json_gets_two(tmp_path: Path) -> None:
    work = processing("application/jsonlines", JoinSource="Input")
    answer = written(work, b'{"id":1,"SageMakerOutput":0}\n[1,2]\n', b'{"r":[1]}\n0.5\n', folder=tmp_path)
    assert answer == b'{"id":1,"SageMakerOutput":{"r":[1]}}\n{"SageMakerInput":[1,2],"SageMakerOutput":0.5}'
    work = processing("application/jsonlines", JoinSource="Input", OutputFilter="$['id','SageMakerOutput']")
    assert (
        written(work, b'{"id":"\xc3\xa9","x":1}\n', b"2\n", folder=tmp_path) == b'{"id":"\xc3\xa9","SageMakerOutput":2}'
    )


def test_application_json_is_one_document_without_a_split_and_one_a_line_with_it(tmp_path: Path) -> None:
    whole = processing("application/json", split="None", JoinSource="Input", InputFilter="$.f")
    document = b'{"f":\n [1, 2]}\n'
    assert sent(whole, document) == b"[1,2]"
    assert written(whole, document, b"[3]\n", folder=tmp_path) == b'{"f":[1,2],"SageMakerOutput":[3]}'
    by_line = processing("application/json", JoinSource="Input")
    assert written(by_line, b"1\n2\n", b"3\n4", folder=tmp_path) == (
        b'{"SageMakerInput":1,"SageMakerOutput":3}\n{"SageMakerInput":2,"SageMakerOutput":4}'
    )


def test_an_output_filter_alone_applies_to_the_answer(tmp_path: Path) -> None:
    work = processing("application/jsonlines", OutputFilter="$.score")
    assert written(work, b"{}\n", b'{"score":1,"x":2}\n{"score":3}\n', folder=tmp_path) == b"1\n3"


@pytest.mark.parametrize(
    ("content", "answer", "counts"), [(b"1\n2\n", b"1\n", "2 and 1"), (b"1", b"1\n2\n3", "1 and 3")]
)
def test_a_join_needs_one_line_out_for_each_line_in(content: bytes, answer: bytes, counts: str, tmp_path: Path) -> None:
    with pytest.raises(
        ObjectError, match=f"Fail to join data: mismatched line count between the input and the output .{counts}"
    ):
        written(processing("text/csv", JoinSource="Input"), content, answer, folder=tmp_path)


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    work = processing("text/csv", JoinSource="Input", InputFilter="$[0]")
    assert sent(work, b"1,2\n\n3,4\n\r\n") == b"1\n3\n"
    assert written(work, b"1,2\n\n3,4\n\r\n", b"a\nb\n\n", folder=tmp_path) == b"1,2,a\n3,4,b"


@pytest.mark.parametrize(
    ("content_type", "path", "content", "message"),
    [
        ("text/csv", "$[2]", b"1,2,3\n1,2\n", "record 2 of a payload: InputFilter .* index 2 of 2 values"),
        ("text/csv", "$[0]", b'1,"2\n', "is no row of CSV"),
        ("application/jsonlines", "$.a", b'{"a":1}\n{"a":\n', "record 2 .* is no JSON"),
        ("application/jsonlines", "$.a", b"\xff\n", "is no JSON"),
        ("application/jsonlines", "$.a", b"{}\n", 'finds no "a"'),
    ],
)
def test_a_record_that_a_filter_does_not_fit_is_named(
    content_type: str, path: str, content: bytes, message: str
) -> None:
    with pytest.raises(ObjectError, match=message):
        sent(processing(content_type, InputFilter=path), content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_type": "text/plain", "accept": "text/plain"}, 'not ContentType "text/plain"'),
        ({"content_type": "text/csv"}, 'Accept "" to be the same as ContentType "text/csv"'),
        ({"content_type": "text/csv", "accept": "text/csv", "split": "Line"}, "AssembleWith None"),
        ({"content_type": "text/csv", "accept": "text/csv"}, "text/csv needs SplitType Line"),
    ],
)
def test_combinations_that_aws_refuses_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message) as error:
        DataProcessing.of(request(DataProcessing={"JoinSource": "Input"}, **changes))
    assert error.value.code == "ValidationException"


def test_names_of_columns_and_other_paths_are_refused() -> None:
    with pytest.raises(ServiceError, match="rows of text/csv have indices"):
        processing("text/csv", InputFilter="$.user_id")
    with pytest.raises(ServiceError, match=r"OutputFilter .* is not supported from"):
        processing("application/jsonlines", OutputFilter="$..x")


def test_an_explicit_end_of_a_slice_is_warned_of() -> None:
    assert processing("text/csv", InputFilter="$[1:]").warnings == []
    assert "end of a slice is exclusive" in processing("text/csv", OutputFilter="$[1:4]").warnings[0]
