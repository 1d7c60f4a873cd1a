from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient

from factorbox.serving.app import create_app
from factorbox.serving.settings import Settings
from serving.small_model import SmallModel


@pytest.fixture
def model() -> SmallModel:
    return SmallModel(users=["u0", "u1"], items=["a", "b", "c"])


def client_of(model: SmallModel, *, settings: Settings | None = None, ready: bool = True) -> FlaskClient:
    return create_app(model, settings=settings or Settings(), workers=3, ready=lambda: ready).test_client()


def test_ping_is_200_with_an_empty_body_once_ready(model: SmallModel) -> None:
    answer = client_of(model).get("/ping")

    assert (answer.status_code, answer.data) == (200, b"")


def test_before_the_first_product_everything_is_503(model: SmallModel) -> None:
    client = client_of(model, ready=False)

    assert client.get("/ping").status_code == 503
    assert client.post("/invocations", data="u0", content_type="text/csv").status_code == 503


@pytest.mark.parametrize(("limit", "advertised"), [(100, 6), (0, 6), (2, 2)])
def test_execution_parameters_tell_how_to_send_records(model: SmallModel, limit: int, advertised: int) -> None:
    answer = client_of(model, settings=Settings(max_payload_mib=limit)).get("/execution-parameters")

    assert answer.json == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": advertised,
    }


def test_the_answer_has_the_accepted_type_without_parameters(model: SmallModel) -> None:
    client = client_of(model)

    for accept in ("text/csv", "application/jsonlines", "application/json"):
        answer = client.post(
            "/invocations", data='{"user_id":"u1"}', content_type="application/json", headers={"Accept": accept}
        )
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == accept
        assert answer.content_length == len(answer.data)


def test_csv_is_the_default_answer(model: SmallModel) -> None:
    answer = client_of(model).post("/invocations", data="u1,1\n", content_type="text/csv; charset=utf-8")

    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.data == b"u1,a,1.0"


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        ("", {"Content-Type": "text/csv"}, 204, ""),
        ("u1,x", {"Content-Type": "text/csv"}, 400, 'record 1: top_n "x" is not a whole number'),
        ("u1", {"Content-Type": "text/csv", "Accept": "image/png"}, 406, "Accept 'image/png'"),
        ("u1", {"Content-Type": "application/pdf"}, 415, "Content-Type 'application/pdf'"),
        ("u1", {}, 415, "no Content-Type"),
        ("u" * (1 << 20) + "u", {"Content-Type": "text/csv"}, 413, "SAGEMAKER_MAX_PAYLOAD_IN_MB"),
    ],
)
def test_statuses_come_with_one_line_that_says_why(
    model: SmallModel, body: str, headers: dict[str, str], status: int, said: str
) -> None:
    client = client_of(model, settings=Settings(max_payload_mib=1))

    answer = client.post("/invocations", data=body, headers=headers)

    assert answer.status_code == status
    assert said in answer.text
    assert len(answer.text.splitlines()) <= 1


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/invocations", 405), ("POST", "/ping", 405), ("GET", "/models", 404)]
)
def test_a_wrong_route_is_told_the_right_ones(model: SmallModel, method: str, path: str, status: int) -> None:
    answer = client_of(model).open(path, method=method)

    assert answer.status_code == status
    assert "the routes are POST /invocations, GET /ping, GET /execution-parameters and GET /openapi.json" in answer.text
    assert ("Allow" in answer.headers) is (status == 405)


def test_a_bug_is_a_500_whose_traceback_is_in_the_log_alone(
    model: SmallModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("the bug")

    monkeypatch.setattr(model.answering, "answer", broken)

    with caplog.at_level(logging.ERROR):
        answer = client_of(model).post("/invocations", data="nobody", content_type="text/csv")

    assert answer.status_code == 500
    assert answer.text == "the server failed on this request: its log says why"
    assert "ZeroDivisionError: the bug" in caplog.text
