from __future__ import annotations

import json
import logging
from collections.abc import Iterable

import pyarrow as pa
import pytest

from factorbox.data.item_details import ItemDetails
from factorbox.recommend.queries import Query
from factorbox.serving import invocations
from factorbox.serving.invocations import Invocations
from factorbox.serving.media_types import Format
from factorbox.serving.refusals import RequestError
from factorbox.serving.settings import Settings
from serving.small_model import SmallModel


@pytest.fixture
def model() -> SmallModel:
    # u0 and u2 have seen item a.
    return SmallModel(users=["u0", "u1", "u2", "u3"], items=["a", "b", "c"])


def whole(answer: Iterable[bytes] | None) -> str:
    assert answer is not None
    return b"".join(answer).decode()


def ask(
    model: SmallModel, body: bytes, *, to: Format = "csv", settings: Settings | None = None, of: Format = "json"
) -> str:
    service = Invocations(model, settings=settings or Settings())
    return whole(service.answer(body, request_format=of, answer_format=to))


def test_requests_are_answered_in_order_without_a_newline_at_the_end(model: SmallModel) -> None:
    body = b'{"user_id": "u1", "top_n": "2"}\n{"user_id": "u0", "top_n": 1}\n{"user_id": "u1", "top_n": 1}'

    assert ask(model, body) == "u1,a,1.0\nu1,b,0.5\nu0,b,0.5\nu1,a,1.0"


def test_trailing_newline_ends_an_answer_but_not_an_empty_one(model: SmallModel) -> None:
    settings = Settings(trailing_newline=True, unknown_users="empty")

    assert ask(model, b"u1,1", of="csv", settings=settings) == "u1,a,1.0\n"
    assert ask(model, b"nobody", of="csv", settings=settings) == ""
    assert ask(model, b"nobody", of="csv", to="json", settings=settings).endswith("}\n")


def test_a_huge_top_n_returns_what_there_is(model: SmallModel) -> None:
    assert ask(model, b"u1,1000000000", of="csv").count("\n") == 2


@pytest.mark.parametrize("request_", [True, False, None])
@pytest.mark.parametrize("environment", [True, False, None])
@pytest.mark.parametrize("manifest", [True, False])
def test_exclude_seen_is_the_requests_before_the_environments_before_the_models(
    request_: bool | None, environment: bool | None, manifest: bool
) -> None:
    model = SmallModel(users=["u0"], items=["a", "b"], exclude_seen=manifest)
    wanted = next(choice for choice in (request_, environment, manifest) if choice is not None)
    fields = {"user_id": "u0"} | ({} if request_ is None else {"exclude_seen": request_})

    answer = ask(model, json.dumps(fields).encode(), settings=Settings(exclude_seen=environment))

    assert ("u0,a," in answer) is not wanted


def test_an_unknown_user_gets_the_mean_users_ranking(model: SmallModel) -> None:
    answer = json.loads(ask(model, b'{"user_id": "nobody", "top_n": 2}', to="json"))

    assert list(answer) == ["user_id", "known_user", "recommendations"]
    assert answer["known_user"] is False
    assert [row["item_id"] for row in answer["recommendations"]] == ["a", "b"]


def test_an_unknown_user_can_get_nothing(model: SmallModel) -> None:
    settings = Settings(unknown_users="empty")
    body = b"nobody\nu1,1\nnobody"

    assert ask(model, body, of="csv", settings=settings) == "u1,a,1.0"
    lines = ask(model, body, of="csv", to="json", settings=settings).split("\n")
    assert lines[0] == '{"user_id":"nobody","known_user":false,"recommendations":[]}'
    assert len(lines) == 3


def test_an_unknown_user_can_be_a_bad_record(model: SmallModel) -> None:
    with pytest.raises(RequestError, match='record 2: user_id "nobody" is unknown') as refused:
        ask(model, b"u1\nnobody", of="csv", settings=Settings(unknown_users="error"))
    assert refused.value.status == 400

    marked = ask(model, b"u1,1\nnobody", of="csv", settings=Settings(unknown_users="error", bad_records="mark"))
    assert marked.split("\n")[1].startswith('nobody,ERROR,"record 2: ')


def test_a_bad_record_refuses_the_request_before_anything_is_ranked(model: SmallModel) -> None:
    with pytest.raises(RequestError) as refused:
        ask(model, b"u1\nu1,0\n,3", of="csv")

    assert str(refused.value).startswith('record 2: top_n "0" is not a whole number')
    assert model.answering.rows == []


@pytest.mark.parametrize("element", [b"1", b"{}"])
def test_a_flood_of_bad_records_is_refused_for_its_first_one(
    model: SmallModel, element: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RequestError, match=r"^record 1: "):
        ask(model, b"[" + (element + b",") * 300_000 + element + b"]")
    # More than a hundred records would have been counted in the log.
    assert not caplog.records


def test_the_first_bad_element_of_an_array_keeps_its_number(model: SmallModel) -> None:
    with pytest.raises(RequestError, match=r'^record 3: "x" is not a JSON object'):
        ask(model, b'[{"user_id": "u1"}, {"user_id": "u2"}, "x", 5]')


def test_an_unknown_user_with_an_endless_name_is_refused(model: SmallModel) -> None:
    # Every row of the answer would repeat it: a request of 300 kB once asked for an answer of 6 GB.
    with pytest.raises(RequestError, match="is unknown and has 2,049 characters"):
        ask(model, b"x" * 2049, of="csv")
    assert ask(model, b"x" * 2048 + b",1", of="csv").startswith("x" * 2048 + ",")


def test_long_ids_make_blocks_of_fewer_records(model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "_BLOCK_ROWS", 10)
    body = b"\n".join([b"y" * 640] * 4)
    blocks = list(Invocations(model, settings=Settings()).answer(body, request_format="csv", answer_format="csv") or [])
    assert len(blocks) == 4


def test_marked_records_keep_one_json_line_a_record(model: SmallModel) -> None:
    body = b'{"user_id":"u1"}\nnot JSON\n\n{"user_id":"u0","top_n":"x"}\n{"user_id":"u3"}'

    lines = [
        json.loads(line) for line in ask(model, body, to="json", settings=Settings(bad_records="mark")).split("\n")
    ]

    assert [line.get("user_id") for line in lines] == ["u1", None, None, "u0", "u3"]
    assert [line["error"]["record"] for line in lines if "error" in line] == [2, 3, 4]


def test_a_request_of_bad_records_alone_is_marked_without_a_ranking(model: SmallModel) -> None:
    assert ask(model, b",\n,", of="csv", settings=Settings(bad_records="mark")).count(",ERROR,") == 2
    assert sum(model.answering.rows) == 0


@pytest.mark.parametrize("body", [b"", b"\n", b"\xef\xbb\xbf"])
def test_no_record_gives_no_answer(model: SmallModel, body: bytes) -> None:
    service = Invocations(model, settings=Settings())

    assert service.answer(body, request_format="json", answer_format="csv") is None
    assert service.answer(body, request_format="csv", answer_format="csv") is None


def test_a_byte_order_mark_is_no_part_of_the_first_record(model: SmallModel) -> None:
    assert ask(model, b"\xef\xbb\xbfu1,1", of="csv") == "u1,a,1.0"
    assert ask(model, b'\xef\xbb\xbf{"user_id":"u1","top_n":1}') == "u1,a,1.0"


@pytest.mark.parametrize("to", ["csv", "json"])
@pytest.mark.parametrize("rows", [1, 20, 40, 80, 150])
def test_blocks_do_not_change_the_answer(
    model: SmallModel, monkeypatch: pytest.MonkeyPatch, to: Format, rows: int
) -> None:
    settings = Settings(bad_records="mark", unknown_users="empty", trailing_newline=True)
    body = b"u1,2\nnobody\nu0,9\n,\nu2,1\nnobody\nu3,3\nnobody"
    at_once = ask(model, body, of="csv", to=to, settings=settings)

    monkeypatch.setattr(invocations, "_BLOCK_ROWS", rows)

    assert ask(model, body, of="csv", to=to, settings=settings) == at_once


def test_a_large_answer_is_made_block_by_block(model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "_BLOCK_ROWS", 24)
    service = Invocations(model, settings=Settings())

    answer = service.answer(b"u1,3\n" * 10, request_format="csv", answer_format="csv")
    assert answer is not None
    assert model.answering.rows == [6]

    assert b"".join(answer).count(b"\n") == 29
    assert model.answering.rows == [6, 6, 6, 6, 6]


def test_a_large_request_is_logged_in_one_line(model: SmallModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(bad_records="mark")

    ask(model, b"u1\n" * 100, of="csv", settings=settings)
    assert caplog.messages == []

    ask(model, b"u1\n" * 98 + b"nobody\nnobody\n,3", of="csv", settings=settings)
    (message,) = caplog.messages
    assert message.startswith("records=101; unknown_users=2; bad_records=1; seconds=")
    assert message.endswith(";")


def test_a_large_request_that_is_refused_is_logged_too(model: SmallModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    with pytest.raises(RequestError):
        ask(model, b"u1\n" * 100 + b",3", of="csv")

    assert caplog.messages[0].startswith("records=101; unknown_users=0; bad_records=1; ")


def test_explanations_in_csv_are_bad_records_that_name_json_lines(model: SmallModel) -> None:
    body = b'{"user_id":"u1","top_n":1}\n{"sequence_id":"s","sequence":["a"],"explain":2}'
    with pytest.raises(RequestError, match=r"record 2: explain 2 cannot be answered in CSV.*application/jsonlines"):
        ask(model, body)
    marked = ask(model, body, settings=Settings(bad_records="mark")).split("\n")
    assert marked[0] == "u1,a,1.0"
    assert marked[1].startswith('s,ERROR,"record 2: explain 2')
    assert '"because":' in ask(model, body, to="json")


@pytest.mark.parametrize("policy", ["empty", "error", "mean"])
def test_a_history_without_a_known_item_is_nobody_as_an_unknown_user_is(model: SmallModel, policy: str) -> None:
    body = b'{"history":["z"],"top_n":1}\n{"sequence_id":"s","sequence":[],"top_n":1}\n{"user_id":"u1","top_n":1}'
    settings = Settings(unknown_users=policy, bad_records="mark")  # type: ignore[arg-type]
    lines = [json.loads(line) for line in ask(model, body, to="json", settings=settings).split("\n")]
    assert len(lines[2]["recommendations"]) == 1
    if policy == "error":
        assert lines[0]["error"]["field"] == "history"
        assert lines[1]["error"]["field"] == "sequence"
        assert lines[1]["sequence_id"] == "s"
    else:
        assert [len(line["recommendations"]) for line in lines[:2]] == [int(policy == "mean")] * 2
        assert [line.get("ignored_items") for line in lines[:2]] == [1, None]


def test_reasons_that_would_take_minutes_are_refused(model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # One reason for each of thousands of items out of a long history once kept a worker busy for an hour.
    monkeypatch.setattr(invocations, "_MOST_PRODUCTS", 6)
    body = b'{"history":["a","b","c"],"top_n":%d,"explain":1,"exclude_seen":false}'
    assert "because" in ask(model, body % 2, to="json")
    with pytest.raises(RequestError, match="record 1: explain 1 would take minutes for so many items"):
        ask(model, body % 3, to="json")


@pytest.mark.parametrize(
    ("fields", "to"),
    [
        ({"user_id": "y" * 640, "item_ids": ["a"] * 40}, "csv"),
        ({"user_id": "u1", "item_ids": ["a"] * 40, "titles": True}, "json"),
        ({"history": ["a", "b"], "item_ids": ["a"] * 150, "explain": 2}, "json"),
    ],
)
def test_an_answer_that_would_take_gigabytes_is_refused(
    fields: dict[str, object], to: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A request of half a megabyte once asked for six hundred: labels, titles and reasons that repeat.
    details = ItemDetails({"title": pa.array(["t" * 640, "u"], type=pa.large_string())})
    model = SmallModel(users=["u1"], items=["a", "b"], item_details=details)
    monkeypatch.setattr(invocations, "_MOST_ROWS", 300)
    with pytest.raises(RequestError, match=r"record 1: item_ids \[...\] may make an answer of [0-9,]+ characters"):
        ask(model, json.dumps(fields).encode(), to=to)
    short = {**fields, "item_ids": ["a"] * 4}
    assert ask(model, json.dumps(short).encode(), to=to)


@pytest.mark.parametrize("line", [b"x", b'{"user_id":"u0","item_ids":[]}', b'{"user_id":"u0","top_n":1}'])
def test_records_without_rows_and_long_histories_fill_blocks_too(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # A megabyte of bad lines, empty answers, or a heavy user asked for again and again, once took gigabytes at a time.
    monkeypatch.setattr(invocations, "_BLOCK_ROWS", 100)
    model = SmallModel(users=["u0"], items=["a"])
    service = Invocations(model, settings=Settings(bad_records="mark"))
    answer = service.answer(b"\n".join([line] * 100), request_format="json", answer_format="json")
    assert len(list(answer or [])) >= 8


def test_a_history_that_would_take_minutes_to_fold_in_is_refused_and_not_folded_in(
    model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A million items of a network's history take some of them, and a gigabyte for slopes.
    monkeypatch.setattr(invocations, "_MOST_FOLD_IN_PRODUCTS", 2)
    short, long = b'{"history":["a","b","z"]}', b'{"sequence_id":"s","sequence":["a","b","c"],"explain":1}'
    assert ask(model, short)
    with pytest.raises(RequestError, match="record 2: sequence has 3 items, and would take minutes to fold in"):
        ask(model, short + b"\n" + long, to="json")
    folded = model.answering.folded
    marked = ask(model, long + b"\n" + short, to="json", settings=Settings(bad_records="mark")).split("\n")
    assert json.loads(marked[0])["error"]["field"] == "sequence"
    assert "recommendations" in marked[1]
    assert folded[-1] == [0, 2]


def test_blocks_are_short_where_folding_in_takes_long(model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # A payload of six million histories of one item once kept a worker for hours, whether or not the client was there.
    monkeypatch.setattr(invocations, "_BLOCK_PRODUCTS", 10)
    asked = {b'{"history":["a"]}': 6, b'{"user_id":"u0","top_n":1}': 1}
    for line, blocks in asked.items():
        service = Invocations(model, settings=Settings())
        answer = service.answer(b"\n".join([line] * 50), request_format="json", answer_format="json")
        assert len(list(answer or [])) == blocks


def test_a_filter_bounds_how_many_rows_are_expected(model: SmallModel) -> None:
    resolved = model.answering.resolve([Query("u1", top_n=100, include_items=["a", "z"]), Query("u1", top_n=100)])
    assert model.answering.most_rows(resolved).tolist() == [2, 3]


def test_a_sequence_with_an_endless_label_is_refused(model: SmallModel) -> None:
    body = json.dumps({"sequence_id": "x" * 3000, "sequence": ["a"]}).encode()
    with pytest.raises(RequestError, match=r"record 1: sequence_id .* has 3,000 characters"):
        ask(model, body)
