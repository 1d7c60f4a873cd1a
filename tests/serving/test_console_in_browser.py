"""The page in a real browser, over a real server and a model that was trained for it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from serving.browser import Browser, chromium, serving, watched
from support import make_base, run_train

HOSTILE_TITLE = "</script><script>owned = 1</script><img src=x onerror='owned = 1'> \"&amp;\" " + "w" * 200
HOSTILE_ITEM = "a,b#c=d&e?f%20<i>"
HOSTILE_USER = "<img src=x onerror='owned = 1'>"
TITLES = {
    "s1": "Star One",
    "s2": "Star Two",
    "s3": "Star Three",
    "s4": "Starlight, the last",
    HOSTILE_ITEM: HOSTILE_TITLE,
    "w1": "West One",
    "w2": "West Two",
    "w3": "West Three",
    "w4": "Western, the last",
    "w5": "West Five",
}
STARS, WESTS = list(TITLES)[:5], list(TITLES)[5:]
USERS = [*(f"{number}" for number in range(1, 24)), HOSTILE_USER]


def table(rows: list[list[str]]) -> str:
    """Write CSV with every text in quotes that needs them."""
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of users in two tastes; each has all items of a taste but one, and the first user one more."""
    rows = [["user_id", "item_id"]]
    for place, user in enumerate(USERS):
        taste = (STARS, WESTS)[place % 2]
        rows += [[user, item] for number, item in enumerate(taste) if number != (place // 2) % len(taste)]
    rows.append([USERS[0], "w4"])
    kinds = [[item, title, "stars" if item in STARS else "wests"] for item, title in TITLES.items()]
    folder = make_base(
        tmp_path_factory.mktemp("console"),
        files={"interactions.csv": table(rows)},
        items={"items.csv": table([["item_id", "title", "kind"], *kinds])},
        hyperparameters={"embedding_dim": "3", "regularization": "0.01"},
    )
    done = run_train(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def address(base: Path) -> Iterator[str]:
    with serving(base) as started:
        yield started


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def browser(driver: webdriver.Chrome, address: str) -> Iterator[Browser]:
    with watched(driver, address) as page:
        yield page


def test_a_user_is_found_by_id_and_shown_with_titles_and_reasons(browser: Browser) -> None:
    browser.open()
    browser.type("1")
    browser.wait_found("1", "10", "11", "12", "13", HOSTILE_TITLE)
    browser.all("#found .name")[2].click()
    browser.wait_for("User 11")

    # What is left of the user's taste comes first: the user has all other items of it.
    assert browser.texts(".ranked .name")[0] == "Star One"
    assert browser.text(".ranked .row .detail").startswith("s1 · stars")
    assert browser.texts("aside h3")[0] == "4 known items"
    assert set(browser.texts("aside .name")) == {TITLES[item] for item in STARS[1:]}
    reasons = browser.texts(".ranked > :first-child .reason a")
    assert len(reasons) == 3 and set(reasons) <= {TITLES[item] for item in STARS[1:]}
    assert browser.text("#model") == "als · 24 users · 10 items"
    assert browser.script("return location.hash") == "#user=11"


def test_the_whole_sum_of_reasons_is_the_score_and_signs_are_honest(browser: Browser) -> None:
    browser.open("#user=1")
    score = browser.one(".ranked > :first-child > .number[title]").get_attribute("title")
    browser.click("summary")
    browser.until(lambda: browser.all("details .detail"))

    rows = browser.all(".ranked > :first-child .reason")
    assert len(rows) == 5
    impacts = [float(str(row.find_element(By.CSS_SELECTOR, ".number").get_attribute("title"))) for row in rows]
    assert sum(impacts) == pytest.approx(float(str(score)), rel=1e-3)
    assert f"make {float(str(score)):.3f}" in browser.text("details .detail")
    # All bars leave from one line, to the right where the impact speaks for the item, to the left where against it.
    starts = []
    for row, impact in zip(rows, impacts, strict=True):
        bar = row.find_element(By.CSS_SELECTOR, "i").rect
        starts.append(bar["x"] if impact >= 0 else bar["x"] + bar["width"])
        against = "against" in str(row.get_attribute("class"))
        assert against is (impact < 0)
        assert row.find_element(By.CSS_SELECTOR, ".number").text[0] == ("−" if against else "+")
    assert max(starts) - min(starts) < 2
    assert min(impacts) < 0 < max(impacts)


def test_an_item_is_found_by_title_and_shows_similar_items(browser: Browser) -> None:
    browser.open()
    browser.type("starL")
    browser.wait_found("Starlight, the last")
    browser.press(Keys.ENTER)
    browser.wait_for("Starlight, the last")

    assert set(browser.texts(".ranked .name")[:4]) == {TITLES[item] for item in STARS if item != "s4"}
    assert "Starlight, the last" not in browser.texts(".ranked .name")
    assert browser.script("return location.hash") == "#item=s4"


def test_a_click_on_a_recommended_item_shows_similar_ones_and_back_returns(browser: Browser) -> None:
    browser.open("#user=3")
    first = browser.texts(".ranked .name")[0]
    browser.click(".ranked .name")
    browser.wait_for(first)
    assert browser.texts("h3")[0].startswith("Similar items")
    browser.driver.back()
    browser.wait_for("User 3")


def test_a_picked_history_is_recommended_for_and_follows_what_is_picked(browser: Browser) -> None:
    browser.open()
    browser.type("star t")
    browser.wait_found("Star Three", "Star Two")
    for button in browser.all("#found .add"):
        button.click()
    browser.press(Keys.ESCAPE)
    browser.click("#picked .go")
    browser.wait_for("For the picked history")
    stars = browser.texts(".ranked .name")
    assert set(stars[:3]) == {TITLES[item] for item in ("s1", "s4", HOSTILE_ITEM)}
    assert not {"Star Two", "Star Three"} & set(stars)
    assert set(browser.texts(".ranked > :first-child .reason a")) == {"Star Two", "Star Three"}

    # Another item by its button in the list, the first two away by theirs.
    adds = browser.all(".ranked .add")
    adds[stars.index("West One")].click()
    browser.until(lambda: "West One" not in browser.texts(".ranked .name"))
    for left in (2, 1):
        browser.click("#picked button")
        browser.until(lambda left=left: len(browser.texts("#picked button")) == left)  # type: ignore[misc]
    browser.until(lambda: {TITLES[item] for item in WESTS[1:]} == set(browser.texts(".ranked .name")[:4]))
    assert browser.texts("#picked button") == ["West One"]
    assert browser.focused() == "West One"
    assert browser.script("return location.hash") == "#history=w1"

    browser.click("#picked button")
    browser.wait_for("What would it recommend, and why?")


def test_a_history_in_the_address_is_shown_with_titles_even_of_strange_ids(browser: Browser) -> None:
    browser.open(f"#history=s2,{quote(HOSTILE_ITEM, safe='')},nothing,s2")

    assert browser.texts("#picked button") == ["Star Two", HOSTILE_TITLE, "nothing"]
    assert "1 of these items is not in the model and left out." in browser.texts("main p")
    assert set(browser.texts(".ranked .name")[:3]) == {"Star One", "Star Three", "Starlight, the last"}


def test_hostile_titles_and_ids_are_shown_as_text(browser: Browser) -> None:
    browser.open()
    browser.type("onerror")
    browser.wait_found(HOSTILE_TITLE)
    browser.all("#found .name")[0].click()
    browser.wait_for(HOSTILE_TITLE)
    assert HOSTILE_ITEM in browser.text("main p")

    browser.open(f"#user={quote(HOSTILE_USER, safe='')}")
    assert browser.text("h2") == f"User {HOSTILE_USER}"
    assert browser.texts("aside h3")[0] == "4 known items"
    browser.type(HOSTILE_USER)
    browser.wait_found(HOSTILE_USER, HOSTILE_TITLE)
    assert browser.all("img") == []
    assert len(browser.all("script")) == 1


def test_known_items_are_there_when_asked_for_and_marked(browser: Browser) -> None:
    browser.open("#user=1")
    assert browser.texts(".mark") == []
    browser.click("main input")
    browser.until(lambda: len(browser.texts(".mark")) == 5)
    assert len(browser.texts(".ranked .name")) == 10
    # An item of the history is the first reason for itself.
    itself = browser.texts(".row:has(.mark) .reason:first-child .soft")
    assert itself == ["The item itself"] * 5
    score = browser.one(".row:has(.mark) > .number[title]").get_attribute("title")
    browser.click(".row:has(.mark) summary")
    browser.until(lambda: browser.all("details .detail"))
    assert f"5 impacts and the baseline +0.000 make {float(str(score)):.3f}" in browser.text("details .detail")


def test_who_is_unknown_gets_what_the_server_says(browser: Browser) -> None:
    browser.open("#user=nobody")
    assert browser.text("main p").startswith("The model does not know this user.")
    assert len(browser.texts(".ranked .name")) == 10
    assert browser.texts(".why") == []

    browser.open("#item=nothing")
    assert browser.texts("main p") == ["The model does not know this item.", "Nothing is left."]

    browser.open("#user=%E0%A4%A")
    assert browser.text("h2") == "What would it recommend, and why?"


def test_an_error_of_the_server_is_shown_as_text(browser: Browser) -> None:
    browser.open(f"#user={'x' * 3_000}")
    assert "3,000 characters" in browser.text(".error")
    # The browser itself notes the status.
    (noted,) = {entry["message"].rpartition("responded")[2] for entry in browser.log("browser")}
    assert "400" in noted


def test_a_server_that_has_gone_is_said_to_be(browser: Browser) -> None:
    browser.open()
    browser.script("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    browser.type("star")
    browser.until(lambda: browser.all("#found .error"))
    assert browser.text("#found .error") == "The server cannot be reached. Is it still running?"


def test_an_answer_that_comes_late_is_dropped(browser: Browser) -> None:
    browser.open()
    browser.script(
        "const real = fetch; window.late = false; window.fetch = async (url, options) => {"
        " if (!String(url).includes('text=west')) return real(url, options);"
        " await new Promise((then) => { window.release = then; });"
        " const answer = await real(url); setTimeout(() => { window.late = true; }, 200); return answer; }"
    )
    browser.type("west")
    browser.until(lambda: browser.script("return Boolean(window.release)"))
    browser.type("star two")
    browser.wait_found("Star Two")
    browser.script("window.release()")
    browser.until(lambda: browser.script("return window.late"))
    assert browser.texts("#found .name") == ["Star Two"]


def test_everything_can_be_done_by_keyboard(browser: Browser) -> None:
    browser.open()
    browser.press("/")
    assert browser.focused() == "text"
    browser.press("star t")
    browser.wait_found("Star Three", "Star Two")
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused() == "Star Three"
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused() == "Star Two"
    browser.press(Keys.TAB)
    browser.press(Keys.ENTER)
    assert browser.texts("#picked button") == ["Star Two"]
    browser.press(Keys.ARROW_UP)
    assert browser.focused() == "Star Three"
    browser.press(Keys.ESCAPE)
    assert not browser.one("#found").is_displayed() and browser.focused() == "text"
    browser.type("star two")
    browser.wait_found("Star Two")
    browser.press(Keys.ENTER)
    browser.wait_for("Star Two")
    assert browser.focused() == "Star Two"
    assert browser.text("#status").startswith("Star Two: ")


@pytest.mark.parametrize("fragment", ["", "#user=1", "#item=s1", f"#history=s2,{quote(HOSTILE_ITEM, safe='')}"])
def test_a_telephone_shows_it_without_scrolling_sideways(browser: Browser, fragment: str) -> None:
    browser.width(360)
    browser.open(fragment)
    assert browser.script("return document.documentElement.scrollWidth") == 360
    browser.type("onerror")
    browser.wait_found(HOSTILE_TITLE)
    assert browser.script("return document.documentElement.scrollWidth") == 360
    # A smaller font would make telephones zoom in.
    assert float(browser.one("#text").value_of_css_property("font-size").removesuffix("px")) >= 16


def test_it_is_dark_where_the_reader_wants_dark(browser: Browser) -> None:
    def background() -> object:
        return browser.script("return getComputedStyle(document.body).backgroundColor")

    browser.open()
    light = background()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert (light, background()) == ("rgb(250, 249, 246)", "rgb(21, 25, 23)")


def test_a_model_without_titles_shows_ids_and_a_marked_bad_record_its_message(
    browser: Browser, base: Path, tmp_path: Path
) -> None:
    plain = make_base(
        tmp_path / "plain",
        files={"interactions.csv": (base / "input/data/training/interactions.csv").read_text()},
        hyperparameters={"embedding_dim": "3"},
    )
    assert run_train(plain).returncode == 0
    with serving(plain, BAD_RECORDS="mark", UNKNOWN_USERS="error") as address:
        browser.open("#user=1", address=address)
        assert set(browser.texts("aside .name")) == {*STARS[1:], "w4"}
        assert browser.texts(".ranked .name")[0] == "s1"
        assert browser.texts(".ranked .row .detail") == []
        browser.open("#user=nobody", address=address)
        assert "nobody" in browser.text(".error") and "is unknown" in browser.text(".error")
