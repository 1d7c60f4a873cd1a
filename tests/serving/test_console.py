from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.item_details import ItemDetails
from factorbox.serving.app import create_app
from factorbox.serving.console import PATHS, content_security_policy
from factorbox.serving.settings import Settings
from serving.small_model import SmallModel

TITLES = ['<script>alert("1")</script>', "Plain", None]


def client_of(*, console: bool = True) -> FlaskClient:
    details = ItemDetails({"title": pa.array(TITLES, type=pa.large_string())})
    model = SmallModel(users=["u0", "u1"], items=["a", "b", "c"], item_details=details)
    return create_app(model, settings=Settings(console=console), workers=1, ready=lambda: True).test_client()


CLIENT = client_of()


def test_the_page_is_small_and_one_file() -> None:
    answer = CLIENT.get("/")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert len(answer.data) < 25_000
    # Nothing is loaded: no address of any kind but fragments, data and the namespace of the icon.
    parser = Addresses()
    parser.feed(answer.text)
    assert parser.addresses == ["data:", "#"]
    assert set(re.findall(r"[a-z]+://[^'\"\s]+", answer.text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in answer.text and "url(" not in answer.text


class Addresses(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on") and name != "style", "the policy would refuse it"
            if name in ("src", "href", "action", "srcset"):
                self.addresses.append("data:" if str(value).startswith("data:") else str(value))


def test_the_page_never_makes_html_of_texts() -> None:
    page = CLIENT.get("/").text

    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc"):
        assert sink not in page


def test_the_policy_lets_the_one_script_and_style_run_and_nothing_else() -> None:
    answer = CLIENT.get("/")

    directives = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}.*?>(.*?)</{tag}>", answer.text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_the_policy_covers_one_script_only() -> None:
    with pytest.raises(ValueError, match="too many values"):
        content_security_policy("<style></style><script>1</script><script>2</script>")


@pytest.mark.parametrize("path", ["/", "/search", "/search?text=a"])
def test_nothing_is_stored_or_guessed(path: str) -> None:
    headers = CLIENT.get(path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_searching_finds_users_and_items() -> None:
    users = CLIENT.get("/search?text=u&limit=1").json
    items = CLIENT.get("/search", query_string={"text": "PLAIN"}).json

    assert users == {
        "model": {"algorithm": "als", "users": 2, "items": 3},
        "users": [{"user_id": "u0", "items": 1}],
        "items": [],
    }
    assert items is not None
    assert items["items"] == [{"item_id": "b", "users": 0, "item": {"title": "Plain"}}]


def test_a_user_comes_with_the_stored_history() -> None:
    answer = CLIENT.get("/search?user_id=u0").json

    assert answer is not None
    assert answer["users"] == [{"user_id": "u0", "items": 1}]
    assert answer["items"] == [{"item_id": "a", "users": 1, "item": {"title": TITLES[0]}, "weight": 1.0}]


def test_without_parameters_there_is_something_to_begin_with() -> None:
    answer = CLIENT.get("/search").json

    assert answer is not None
    assert [user["user_id"] for user in answer["users"]] == ["u0", "u1"]
    assert [item["item_id"] for item in answer["items"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit '0' is not possible: give a whole number from 1 to 100"),
        ("limit=101", "limit '101'"),
        ("limit=-1", "limit '-1'"),
        ("limit=1.0", "limit '1.0'"),
        ("limit=%D9%A1", "limit '\\u0661'"),
        ("limit=" + "9" * 5_000, "limit '99999999999999999...'"),
        ("limit=", "limit is empty"),
        ("text=", "text is empty"),
        ("user_id=", "user_id is empty"),
        ("text=a&text=b", "text is there 2 times"),
        ("text=a&user_id=b", "text and user_id are both there"),
        ("text=" + "a" * 1_001, "text has 1,001 characters: at most 1,000"),
    ],
)
def test_a_bad_parameter_is_a_400_of_one_line(query: str, said: str) -> None:
    answer = CLIENT.get(f"/search?{query}")

    assert answer.status_code == 400
    assert said in answer.text
    assert len(answer.text.splitlines()) == 1
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@given(query=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=30) | st.binary().map(str))
def test_no_query_string_is_a_fault_of_the_server(query: str) -> None:
    for start in ("", "text=", "user_id=", "limit="):
        assert CLIENT.get("/search", query_string=start + query).status_code in (200, 400)


@given(text=st.text(min_size=1, max_size=1_000))
def test_any_text_can_be_looked_for(text: str) -> None:
    for parameter in ("text", "user_id"):
        assert CLIENT.get("/search", query_string={parameter: text}).status_code == 200


def test_the_longest_text_is_looked_for_without_a_word_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert CLIENT.get("/search", query_string={"text": "é" * 1_000}).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_without_the_console_its_routes_are_unknown() -> None:
    client = client_of(console=False)

    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code == 404
        assert "/search" not in answer.text.split("the routes are")[1]
    document = client.get("/openapi.json").json
    assert document is not None and not PATHS.keys() & document["paths"].keys()


def test_the_console_is_described_and_named_where_it_is_on() -> None:
    document = CLIENT.get("/openapi.json").json

    assert document is not None and PATHS.keys() <= document["paths"].keys()
    assert "GET / and GET /search" in CLIENT.get("/nowhere").text


@pytest.mark.parametrize("path", PATHS)
def test_only_getting_is_allowed(path: str) -> None:
    answer = CLIENT.post(path)

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
